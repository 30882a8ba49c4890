import Synchronization

/// The network layer of a ``ZooKeeperClient``. Every transport offers the same operations, guarantees and errors.
public struct ZooKeeperTransport: Sendable, CustomStringConvertible {
    private let name: String
    /// Whether it has a request that reads several nodes.
    let readsSeveralNodes: Bool
    /// Whether it can connect to the addresses that the ensemble reports, which are those of the plain ports.
    package var usesReportedAddresses: Bool
    let open:
        @Sendable (SessionHandleOptions, any SessionHandleDelegate) throws(SessionHandleOpenError) -> any SessionHandle

    package init(
        name: String, readsSeveralNodes: Bool = false, usesReportedAddresses: Bool = true,
        open:
            @escaping @Sendable (
                SessionHandleOptions, any SessionHandleDelegate
            ) throws(SessionHandleOpenError) -> any SessionHandle
    ) {
        self.name = name
        self.readsSeveralNodes = readsSeveralNodes
        self.usesReportedAddresses = usesReportedAddresses
        self.open = open
    }

    #if canImport(CZooKeeper)
    /// The C client, `libzookeeper_mt`, without TLS. The package traits `NIO` and `Portable` leave it out.
    public static let cclient = ZooKeeperTransport(name: "cclient") {
        (options, _) throws(SessionHandleOpenError) in try CClientHandle(options)
    }
    private static let builtIn: ZooKeeperTransport? = cclient
    #else
    private static let builtIn: ZooKeeperTransport? = nil
    #endif

    /// The default transport: the C client, or `nil` in a build without it. The test suite replaces it to run on
    /// another one.
    package static var standard: ZooKeeperTransport? {
        get { standardTransport.withLock { $0 } }
        set { standardTransport.withLock { $0 = newValue } }
    }
    private static let standardTransport = Mutex(builtIn)

    /// The transport's name.
    public var description: String { name }
}
