import Glibc
import Subprocess
import SystemPackage

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Throwaway certificates for servers on loopback and their clients, made by OpenSSL.
public struct LocalCertificates: Sendable {
    /// The folder of the files.
    package let folder: String

    /// Names the files in a folder. Creates nothing.
    package init(in folder: String) { self.folder = folder }

    /// The PEM file with the certificate of the authority that has signed the others.
    public var authority: String { folder + "/authority.pem" }
    /// The PEM file with a client's certificate.
    public var clientCertificate: String { folder + "/client.pem" }
    /// The PEM file with the private key of the client's certificate.
    public var clientKey: String { folder + "/client.key" }
    /// The PEM file with the servers' private key and certificate, as ZooKeeper expects them.
    private var serverStore: String { folder + "/server-store.pem" }

    /// The subject of the client's certificate, which is its identity in the scheme `x509`.
    public static let clientIdentity = "CN=local client"

    /// The settings and system properties with which a server offers encrypted connections on a loopback port.
    func settings(port: Int) -> [String: String] {
        [
            "secureClientPort": "\(port)", "secureClientPortAddress": "127.0.0.1",
            "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
            "ssl.keyStore.location": serverStore, "ssl.keyStore.type": "PEM",
            "ssl.trustStore.location": authority, "ssl.trustStore.type": "PEM",
            "ssl.clientAuth": "need",
            "authProvider.x509": "org.apache.zookeeper.server.auth.X509AuthenticationProvider",
        ]
    }

    /// The Netty jars that the manifest of Debian's `zookeeper.jar` leaves out.
    static let jars = ["netty-all", "netty-codec", "netty-resolver"].map { "/usr/share/java/\($0).jar" }

    /// Creates the certificates if they do not exist.
    func make() async throws {
        if FileManager.default.fileExists(atPath: folder) { return }
        // Several ensembles may share the certificates and start at the same time. The first one to finish wins.
        let draft = LocalCertificates(in: "\(folder)-\(UUID().uuidString)")
        do {
            try await draft.sign()
        } catch {
            try? FileManager.default.removeItem(atPath: draft.folder)
            throw error
        }
        guard rename(draft.folder, folder) != 0 else { return }
        try? FileManager.default.removeItem(atPath: draft.folder)
        guard FileManager.default.fileExists(atPath: folder) else {
            throw LocalServerError(description: "The certificates could not be moved to \(folder).")
        }
    }

    private func sign() async throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try await sign("authority", subject: "local authority", extensions: "basicConstraints=critical,CA:TRUE")
        try await sign(
            "server", subject: "local server", extensions: "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost")
        try await sign("client", subject: "local client", extensions: "basicConstraints=CA:FALSE")
        let store = try ["server.key", "server.pem"].map { try Data(contentsOf: URL(filePath: "\(folder)/\($0)")) }
        // It has the servers' private key.
        _ = FileManager.default.createFile(
            atPath: serverStore, contents: store.reduce(Data(), +), attributes: [.posixPermissions: 0o600])
    }

    /// Makes a key and a certificate, which the authority signs.
    private func sign(_ name: String, subject: String, extensions: String) async throws {
        let settings = """
            [req]
            distinguished_name = name
            x509_extensions = extensions
            prompt = no
            [name]
            CN = \(subject)
            [extensions]
            \(extensions)

            """
        let file = "\(folder)/\(name).cnf"
        try Data(settings.utf8).write(to: URL(filePath: file))
        var arguments = [
            "req", "-x509", "-config", file, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "3650", "-keyout", "\(folder)/\(name).key", "-out", "\(folder)/\(name).pem",
        ]
        if name != "authority" { arguments += ["-CA", authority, "-CAkey", "\(folder)/authority.key"] }
        let result = try await run(
            .name("openssl"), arguments: Arguments(arguments), output: .discarded, error: .string(limit: 4_096))
        guard result.terminationStatus.isSuccess else {
            throw LocalServerError(
                description: "OpenSSL could not make a certificate: \(result.standardError)")
        }
    }
}
