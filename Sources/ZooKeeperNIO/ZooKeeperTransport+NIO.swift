public import ZooKeeper

extension ZooKeeperTransport {
    /// SwiftNIO without encryption. For TLS, use ``nio(tls:)``. See <doc:WhichTransport>.
    public static let nio = nio(tls: nil)

    /// SwiftNIO with TLS, for the servers' secure ports (`secureClientPort`).
    ///
    /// With TLS, the client does not follow reconfigurations, because the ensemble reports only plaintext ports.
    ///
    /// - Parameter tls: The TLS settings, or `nil` for plaintext.
    public static func nio(tls: ZooKeeperTLS?) -> ZooKeeperTransport {
        ZooKeeperTransport(
            name: tls == nil ? "nio" : "nio with TLS", readsSeveralNodes: true, usesReportedAddresses: tls == nil
        ) { options, delegate in
            NIOSessionHandle(options, tls: tls, delegate: delegate)
        }
    }
}
