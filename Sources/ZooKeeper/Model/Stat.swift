/// The metadata that ZooKeeper keeps for every node, with ZooKeeper's own names.
///
/// See "ZooKeeper Stat Structure" in the [programmer's
/// guide](https://zookeeper.apache.org/doc/r3.8.0/zookeeperProgrammers.html#sc_zkStatStructure).
public struct Stat: Sendable, Hashable {
    /// The zxid of the transaction that created the node.
    public var czxid: Int64
    /// The zxid of the transaction that last changed the node's data.
    public var mzxid: Int64
    /// The zxid of the transaction that last added or removed a child.
    public var pzxid: Int64
    /// When the node was created: milliseconds since 1970, by the leader's clock.
    public var ctime: Int64
    /// When the node's data was last changed: milliseconds since 1970, by the leader's clock.
    public var mtime: Int64
    /// How many times the data was changed. It wraps at 2^31.
    public var version: Int32
    /// How many times children were added or removed. It wraps at 2^31.
    public var cversion: Int32
    /// How many children were ever created, which is also the number of the next sequential child. The server's
    /// `cversion` is twice that, minus the number of current children (`DataNode.copyStat` in its source), in
    /// 32 bits that may have overflowed.
    package var childrenCreated: Int { Int((UInt32(bitPattern: cversion) &+ UInt32(bitPattern: numChildren)) / 2) }
    /// How many times the access control list was changed.
    public var aversion: Int32
    /// The id of the session that owns this ephemeral node. 0 when the node is not ephemeral.
    public var ephemeralOwner: Int64
    /// The length of the data in bytes. 0 for null data too.
    public var dataLength: Int32
    /// How many children the node has.
    public var numChildren: Int32

    /// Creates a value whose fields default to zero. For other implementations of ``ZooKeeperStore``.
    public init(
        czxid: Int64 = 0, mzxid: Int64 = 0, pzxid: Int64 = 0, ctime: Int64 = 0, mtime: Int64 = 0,
        version: Int32 = 0, cversion: Int32 = 0, aversion: Int32 = 0, ephemeralOwner: Int64 = 0,
        dataLength: Int32 = 0, numChildren: Int32 = 0
    ) {
        self.czxid = czxid
        self.mzxid = mzxid
        self.pzxid = pzxid
        self.ctime = ctime
        self.mtime = mtime
        self.version = version
        self.cversion = cversion
        self.aversion = aversion
        self.ephemeralOwner = ephemeralOwner
        self.dataLength = dataLength
        self.numChildren = numChildren
    }
}
