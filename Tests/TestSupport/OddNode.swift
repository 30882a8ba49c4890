public import ZooKeeper

/// A node that no process can handle, in one of the folders of a queue.
public struct OddNode: Sendable, CustomStringConvertible {
    /// The reason why a node cannot be handled.
    public enum Kind: Sendable, CaseIterable { case unreadable, hasAChild, tooLarge, oddName, unknownVersion }

    /// The folders of a queue, the leases of one consumer, the lock of the recovery, a slot of delayed messages, and
    /// the slots of a day.
    public enum Folder: Sendable, CaseIterable {
        case items, earlier, partial, consumers, leases, dead, producers, ids, idle, lock, delayed, slots
    }

    /// The reason why the node cannot be handled.
    public let kind: Kind
    /// The folder of the node.
    public let folder: Folder

    /// Every kind in every folder in which it makes a difference.
    public static let all = Folder.allCases.flatMap { folder in
        Kind.allCases.map { OddNode($0, in: folder) }.filter(\.makesADifference)
    }

    /// An access control list that names another user. Servers check that the password is a hash; no test uses the
    /// password itself.
    public static let others = [ACL(.all, scheme: "digest", id: "others:x8IoHcbZPkMGDkTmbW9gwYCS2Gk=")]

    /// Describes a node. Creates nothing.
    public init(_ kind: Kind, in folder: Folder) {
        self.kind = kind
        self.folder = folder
    }

    /// The folder and the kind.
    public var description: String { "\(folder) × \(kind)" }

    /// The name, the size and the data of a lock make no difference, because a recovery removes a stale lock anyway.
    private var makesADifference: Bool { folder != .lock || kind == .unreadable || kind == .hasAChild }

    /// Returns the path of the node, which sorts first in its folder.
    ///
    /// - Parameter queue: the path of the queue.
    public func path(in queue: String) -> String {
        let isOdd = kind == .oddName
        let message = isOdd ? "notes" : "item-001-0000000000"
        return switch folder {
        case .items: "\(queue)/items/\(message)"
        case .earlier: "\(queue)/earlier/\(message)"
        case .partial: "\(queue)/partial/\(message)"
        case .consumers: "\(queue)/consumers/\(isOdd ? "notes" : "consumer-0000000000")"
        case .leases: "\(queue)/consumers/consumer-0000000000/item/\(message)"
        case .dead: "\(queue)/dead/\(message)"
        case .producers: "\(queue)/producers/\(isOdd ? "notes" : "00000000000000000000000000000000")"
        case .ids: "\(queue)/ids/\(isOdd ? "notes" : "7")"
        case .idle: "\(queue)/idle/\(isOdd ? "notes" : "0000000000000000000-consumer-0000000000")"
        case .lock: "\(queue)/gc-lock"
        // In the past, so that these come first.
        case .delayed: "\(queue)/delayed/19675/28332000/\(isOdd ? "notes" : "1699920000000-\(message)")"
        // The number is too large for a time.
        case .slots: "\(queue)/delayed/19675/\(isOdd ? "9223372036854775807" : "28332000")"
        }
    }

    /// Returns the transactions that create the node, one after the other. The queue must exist.
    ///
    /// - Parameters:
    ///   - queue: the path of the queue.
    ///   - maximumRequestSize: the size of the largest request that the queue's clients send, in bytes.
    public func transactions(in queue: String, maximumRequestSize: Int) -> [[ZooKeeperOperation]] {
        let path = path(in: queue)
        let preparation: [ZooKeeperOperation] =
            switch folder {
            // Clients read this folder only after the first epoch.
            case .earlier: [.set("\(queue)/epoch", data: Array("1 open".utf8))]
            case .ids: [.create("\(queue)/ids", data: [])]
            case .delayed: ["", "/19675", "/19675/28332000"].map { .create("\(queue)/delayed\($0)", data: []) }
            case .slots: ["", "/19675"].map { .create("\(queue)/delayed\($0)", data: []) }
            case .leases: ["", "/item"].map { .create("\(queue)/consumers/consumer-0000000000\($0)", data: []) }
            default: []
            }
        let data: [UInt8] =
            switch kind {
            // A request can create the node but not move it, because a move has more operations.
            case .tooLarge: .init(repeating: 1, count: maximumRequestSize - 300)
            // An envelope of a version that does not exist.
            case .unknownVersion: [0x8F, 0x5A, 0x4B, 0x51, 9, 9, 0, 0, 0, 0, 1, 2, 3]
            default: Array("odd".utf8)
            }
        let acl = kind == .unreadable ? Self.others : .open
        // The child's name differs from `cause`, the child that every dead letter has.
        let child: [ZooKeeperOperation] = kind == .hasAChild ? [.create(path + "/child", data: [])] : []
        return [preparation, [.create(path, data: data, acl: acl)], child].filter { !$0.isEmpty }
    }
}
