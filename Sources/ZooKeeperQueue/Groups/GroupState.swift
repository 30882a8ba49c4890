import ZooKeeper

/// What the node of a message group says: a value.
///
/// A group is *live* while one of its messages, its *head*, is somewhere else in the queue: ready, delayed, leased,
/// recovering, or a dead letter that blocks the group. The others wait below the group's node. The node of a group
/// without messages does not exist.
enum GroupState: Sendable, Hashable {
    case missing
    /// The group has a head. A follower is added at this version of the node.
    case live(version: Int32)
    /// The group has no head, but nodes below it that nobody can use, so its node cannot be deleted.
    case idle(version: Int32)
    /// The head is the dead letter with this name, and the followers wait until it is redriven or deleted.
    case blocked(by: String, version: Int32)
    /// The same transaction removes the head, and the next message takes its place.
    case handedOver

    private static let idleData = "idle"
    private static let blockedPrefix = "dead "

    init(_ node: Node?) {
        guard let node else {
            self = .missing
            return
        }
        let text = String(decoding: node.data ?? [], as: UTF8.self)
        if text == Self.idleData {
            self = .idle(version: node.stat.version)
        } else if text.hasPrefix(Self.blockedPrefix) {
            self = .blocked(by: String(text.dropFirst(Self.blockedPrefix.count)), version: node.stat.version)
        } else {
            self = .live(version: node.stat.version)
        }
    }

    /// The version at which a follower is added; `nil` when the next message becomes the head.
    var versionForFollowers: Int32? {
        switch self {
        case .missing, .idle, .handedOver: nil
        case .live(let version), .blocked(_, let version): version
        }
    }

    /// The state after a message was sent.
    var afterSend: GroupState {
        switch self {
        case .missing: .live(version: 0)
        case .idle(let version): .live(version: version &+ 1)
        case .live, .blocked, .handedOver: self
        }
    }

    /// Returns the operation that comes before the create of a message: it makes the group live for a head, or makes
    /// sure that the group still has a head.
    func guarding(_ path: String) -> ZooKeeperOperation? {
        switch self {
        case .missing: .create(path, data: [])
        case .idle(let version): .set(path, data: [], version: version)
        case .live(let version), .blocked(_, let version): .check(path, version: version)
        case .handedOver: nil
        }
    }

    /// The data of a group's node whose head is a dead letter.
    static func data(blockedBy deadLetter: String) -> [UInt8] { Array((blockedPrefix + deadLetter).utf8) }

    /// The data of a group's node without a head.
    static var dataWhenIdle: [UInt8] { Array(idleData.utf8) }
}
