import ZooKeeper

/// What the node of a message group says: a value.
///
/// A group is *live* while one of its messages, its *head*, is somewhere else in the queue: ready, delayed, leased,
/// recovering, or a dead letter that blocks the group. The others, its *followers*, wait below the group's node. The
/// node of a group without messages does not exist.
enum GroupState: Sendable, Hashable {
    case missing
    /// The group has a head. A follower is added at this version of the node.
    case live(version: Int32)
    /// The same, but each follower raises the version, because the node has unusable children, and will become
    /// idle. See ``GroupSuccession/Successor/unusable(version:)``.
    case counted(version: Int32)
    /// The group has no head, but its node has unusable children and cannot be deleted.
    case idle(version: Int32)
    /// The head is the dead letter with this name, and the followers wait until it is redriven or deleted.
    case blocked(by: String, version: Int32)
    /// The client may not read the node, which exists.
    case unreadable
    /// There is no follower. The same transaction removes the head and stores a message, which becomes the new head.
    case handedOver
    /// The same, at a version of a counted group.
    case handedOverAt(version: Int32)

    private static let countedData = "counted"
    private static let idleData = "idle"
    private static let blockedPrefix = "dead "

    init(_ node: Node?) {
        guard let node else {
            self = .missing
            return
        }
        let text = String(decoding: node.data ?? [], as: UTF8.self)
        let version = node.stat.version
        switch text {
        case Self.idleData: self = .idle(version: version)
        case Self.countedData: self = .counted(version: version)
        case _ where text.hasPrefix(Self.blockedPrefix):
            self = .blocked(by: String(text.dropFirst(Self.blockedPrefix.count)), version: version)
        default: self = .live(version: version)
        }
    }

    /// Whether the next message waits behind the head, instead of becoming the head.
    var hasHead: Bool {
        switch self {
        case .missing, .idle, .handedOver, .handedOverAt: false
        case .live, .counted, .blocked, .unreadable: true
        }
    }

    /// The state after a message was sent.
    var afterSend: GroupState {
        switch self {
        case .missing, .handedOver: .live(version: 0)
        case .idle(let version), .handedOverAt(let version): .live(version: version &+ 1)
        case .counted(let version): .counted(version: version &+ 1)
        case .live, .blocked, .unreadable: self
        }
    }

    /// Returns the operations that come before the create of a message: they make the group live for a head, or make
    /// sure that the group still has a head.
    func guarding(_ path: String) -> [ZooKeeperOperation] {
        switch self {
        case .missing: [.create(path, data: [])]
        case .idle(let version), .handedOverAt(let version): [.set(path, data: [], version: version)]
        case .counted(let version): [.set(path, data: Self.dataWhenCounted, version: version)]
        case .live(let version), .blocked(_, let version): [.check(path, version: version)]
        case .unreadable: [.check(path)]
        // Refused when a follower was stored in the meantime, which must come first.
        case .handedOver: [.delete(path), .create(path, data: [])]
        }
    }

    /// The data of the node of a group that a dead letter blocks.
    static func data(blockedBy deadLetter: String) -> [UInt8] { Array((blockedPrefix + deadLetter).utf8) }

    /// The data of a group's node without a head.
    static var dataWhenIdle: [UInt8] { Array(idleData.utf8) }

    /// The data of a group's node whose followers raise its version.
    static var dataWhenCounted: [UInt8] { Array(countedData.utf8) }
}
