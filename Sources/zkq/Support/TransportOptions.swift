import ArgumentParser
import ZooKeeper
import ZooKeeperNIO

/// The options that say how a command connects to the servers.
struct TransportOptions: ParsableArguments {
    enum Name: String, ExpressibleByArgument, CaseIterable { case cclient, nio }

    @Option(
        help: """
            The transport: cclient (the C client) or nio (SwiftNIO). TLS needs nio. Default: cclient, or nio in a zkq \
            without the C client.
            """)
    var transport: Name?

    @Option(
        help: ArgumentHelp(
            "Use TLS, and trust the CA certificates in this PEM file. --connect must name the secure ports.",
            valueName: "file"))
    var tlsCA: String?

    @Option(
        help: ArgumentHelp(
            "Use TLS, with the client certificate in this PEM file. Without --tls-ca, trust the system's CAs.",
            valueName: "file"))
    var tlsCert: String?

    @Option(
        help: ArgumentHelp("The PEM file with the private key of the client's certificate.", valueName: "file"))
    var tlsKey: String?

    func validate() throws {
        guard (tlsCert == nil) == (tlsKey == nil) else {
            throw ValidationError("Pass --tls-cert and --tls-key together.")
        }
        if transport == .cclient, usesTLS {
            throw ValidationError("--transport cclient does not support TLS. Remove it, or remove the --tls-… options.")
        }
        if transport == .cclient, ZooKeeperTransport.standard == nil {
            throw ValidationError("This zkq was built without the C client. Use --transport nio.")
        }
    }

    private var usesTLS: Bool { tlsCA != nil || tlsCert != nil }

    /// The transport that the options name, or the default.
    var value: ZooKeeperTransport {
        if usesTLS {
            var tls = ZooKeeperTLS.serverCertificate(trust: tlsCA)
            (tls.certificateChain, tls.privateKey) = (tlsCert, tlsKey)
            return .nio(tls: tls)
        }
        return transport == .nio ? .nio : .standard ?? .nio
    }
}
