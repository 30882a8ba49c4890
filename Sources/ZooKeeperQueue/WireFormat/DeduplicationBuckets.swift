import ZooKeeper

/// The buckets of deduplication IDs, as stored in the queue's node `ids`: a value.
///
/// Each ID is a node in the current bucket. When the bucket is as old as the deduplication window, a recovery begins
/// another one and removes all but these two. So expiring an ID does not require reading its age. A producer that
/// stores an ID checks the version of `ids` in the same multi, creates the ID in the current bucket, and creates and
/// deletes it in the previous one, which fails when it is there.
struct DeduplicationBuckets: Sendable, Hashable {
    private(set) var current: UInt32 = 0
    private(set) var version: Int32 = 0

    init() {}

    /// Decodes the node `ids`. An empty node is that of a new queue.
    ///
    /// - Throws: ``QueueError/Code/failed`` when the data is not a number.
    init(_ node: Node) throws {
        version = node.stat.version
        let text = String(decoding: node.data ?? [], as: UTF8.self)
        if text.isEmpty { return }
        guard let number = UInt32(text) else {
            throw QueueError(
                .failed,
                "The queue's node \"ids\" does not contain a number, because another client has overwritten it. "
                    + "Restore its data.")
        }
        current = number
    }

    /// Returns a check that fails a multi when another bucket is the current one.
    func check(in tree: QueueTree) -> ZooKeeperOperation { .check(tree.ids, version: version) }

    /// Returns the operations that store an ID. They fail with "node exists" when the queue remembers the ID.
    func operations(storing id: String, in tree: QueueTree) -> [ZooKeeperOperation] {
        let create = ZooKeeperOperation.create(tree.id(id, inBucket: current), data: [])
        guard current > 0 else { return [create] }
        let former = tree.id(id, inBucket: current - 1)
        return [create, .create(former, data: []), .delete(former)]
    }

    /// Returns the operations that make another bucket the current one.
    func next(in tree: QueueTree, acl: [ACL]?) -> [ZooKeeperOperation] {
        [
            .set(tree.ids, data: Array("\(current &+ 1)".utf8), version: version),
            .create(tree.idBucket(current &+ 1), data: [], acl: acl),
        ]
    }

    /// The numbers of the buckets that the queue remembers.
    var numbers: [UInt32] { current > 0 ? [current, current - 1] : [current] }

    /// Whether the queue remembers the IDs in the bucket with this name. True for a name that is not a number,
    /// which no recovery removes.
    func remembers(_ bucket: String) -> Bool {
        guard let number = UInt32(bucket) else { return true }
        return numbers.contains(number)
    }

    /// Returns a node's name for an ID. Letters, digits, `-` and `_` stay as they are, and all other bytes
    /// of its UTF-8 become `%XX`.
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

    /// The longest ID in bytes of UTF-8.
    static let maximumLength = 255
}
