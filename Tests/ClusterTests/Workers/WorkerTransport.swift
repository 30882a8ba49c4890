import ArgumentParser
import ZooKeeper
import ZooKeeperNIO
import ZooKeeperServer

/// What connects the workers of a run to the servers.
enum WorkerTransport: String, ExpressibleByArgument, CaseIterable, Sendable {
    case cclient, nio
    /// SwiftNIO with encryption.
    case tls

    /// - Parameter certificates: the servers' certificates, for encrypted connections.
    func transport(_ certificates: LocalCertificates?) -> ZooKeeperTransport {
        switch (self, certificates) {
        case (.cclient, _): .cclient
        case (.tls, let files?):
            .nio(
                tls: .clientCertificate(
                    chain: files.clientCertificate, key: files.clientKey, trust: files.authority))
        case (.nio, _), (.tls, nil): .nio
        }
    }
}
