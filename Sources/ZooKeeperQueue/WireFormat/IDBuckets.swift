import ZooKeeper

/// Where the ids of messages are remembered: a value, as it stands in the queue's node `ids`.
///
/// Each id is a node in the present bucket. When the bucket is as old as ids are to be remembered, a recovery begins
/// another one and removes all but these two; so forgetting an id costs no look at its age. Who stores an id checks the
/// version of `ids` in the same multi, creates the id in the present bucket, and creates and deletes it in the former
/// one, which fails when it is there.
struct IDBuckets: Sendable, Hashable {
    private(set) var current: UInt32 = 0
    private(set) var version: Int32 = 0

    init() {}

    /// - Throws: when the node does not hold what this library would write; an empty one is a new queue's.
    init(_ node: Node) throws {
        version = node.stat.version
        let text = String(decoding: node.data ?? [], as: UTF8.self)
        if text.isEmpty { return }
        guard let number = UInt32(text) else {
            throw QueueError(
                .failed, "The node ids of the queue does not hold a number: somebody else has written to it.")
        }
        current = number
    }

    /// Fails a multi when another bucket is the present one.
    func check(in tree: QueueTree) -> Operation { .check(tree.ids, version: version) }

    /// What stores an id, and fails with "node exists" when it is remembered.
    func operations(storing id: String, in tree: QueueTree) -> [Operation] {
        let create = Operation.create(tree.id(id, inBucket: current), data: [])
        guard current > 0 else { return [create] }
        let former = tree.id(id, inBucket: current - 1)
        return [create, .create(former, data: []), .delete(former)]
    }

    /// Makes another bucket the present one.
    func next(in tree: QueueTree, acl: [ACL]?) -> [Operation] {
        [
            .set(tree.ids, data: Array("\(current &+ 1)".utf8), version: version),
            .create(tree.idBucket(current &+ 1), data: [], acl: acl),
        ]
    }

    /// The buckets whose ids are remembered.
    var numbers: [UInt32] { current > 0 ? [current, current - 1] : [current] }

    /// Whether what is in the bucket of this name is remembered.
    func remembers(_ bucket: String) -> Bool {
        guard let number = UInt32(bucket) else { return true }
        return numbers.contains(number)
    }

    /// A node's name for an id: letters, digits, `-` and `_` as they are, all other bytes of its UTF-8 as `%XX`.
    static func nodeName(of id: String) -> String {
        var name = ""
        for byte in id.utf8 {
            let scalar = Unicode.Scalar(byte)
            switch scalar {
            case "a"..."z", "A"..."Z", "0"..."9", "-", "_": name.unicodeScalars.append(scalar)
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                name += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return name
    }

    /// The longest id in bytes of UTF-8.
    static let maximumLength = 255
}
