/// The capabilities of a ``ZooKeeperStore`` beyond single reads and writes. A later release may add further ones.
public struct ZooKeeperCapabilities: OptionSet, Sendable, Hashable {
    /// The set as a bit mask.
    public let rawValue: UInt32
    /// Creates a set from its bit mask.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// ``ZooKeeperStore/multi(_:)`` is atomic. A store without this capability applies a multi one operation at a time,
    /// and a crash of the process may leave it half applied.
    public static let transactions = ZooKeeperCapabilities(rawValue: 1)
    /// The store learns of a change when it happens. A store without this capability polls.
    public static let watches = ZooKeeperCapabilities(rawValue: 2)
    /// ``ZooKeeperStore/trackUsage(of:)`` makes the servers count bytes, and
    /// ``ZooKeeperStore/byteUsage(of:)`` returns the count.
    public static let quotas = ZooKeeperCapabilities(rawValue: 4)
    /// ``ZooKeeperStore/get(_:)-([String])`` reads several nodes with one request. A store without this capability
    /// sends one request for each node.
    public static let multiRead = ZooKeeperCapabilities(rawValue: 8)
}
