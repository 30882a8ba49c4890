package import NIOSSL

/// How a connection to a ZooKeeper server is encrypted, and how the two sides authenticate each other.
///
/// The PEM files are reloaded for each connection, so renewed certificates need no restart. The minimum version is TLS
/// 1.2.
public struct ZooKeeperTLS: Sendable, Hashable {
    /// The file with the certificates that the client trusts. `nil` means those of the operating system.
    public var trust: String?
    /// The file with the client's certificate, followed by any intermediate certificates. `nil` for servers that do not
    /// ask for one.
    public var certificateChain: String?
    /// The file with the private key of the client's certificate.
    public var privateKey: String?
    /// Whether a server's certificate must be for the name, or the address, by which the client connects. Default:
    /// true. Without this check, the holder of any trusted certificate can impersonate a server.
    public var verifiesHostNames = true

    /// The client verifies the server, and presents no certificate.
    ///
    /// - Parameter trust: The file with the trusted certificates. `nil` means those of the operating system.
    public static func serverCertificate(trust: String? = nil) -> ZooKeeperTLS { ZooKeeperTLS(trust: trust) }

    /// Each side verifies the other's certificate. ZooKeeper's scheme `x509` then authenticates the client by its
    /// certificate.
    ///
    /// - Parameters:
    ///   - chain: The file with the client's certificate, followed by any intermediate certificates.
    ///   - key: The file with the private key.
    ///   - trust: The file with the trusted certificates. `nil` means those of the operating system.
    public static func clientCertificate(chain: String, key: String, trust: String? = nil) -> ZooKeeperTLS {
        ZooKeeperTLS(trust: trust, certificateChain: chain, privateKey: key)
    }

    /// Reads the files. Blocks.
    package func makeContext() throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.certificateVerification = verifiesHostNames ? .fullVerification : .noHostnameVerification
        if let trust { configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(trust)) }
        if let certificateChain {
            configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(certificateChain)
                .map { .certificate($0) }
        }
        if let privateKey {
            configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: privateKey, format: .pem))
        }
        return try NIOSSLContext(configuration: configuration)
    }
}
