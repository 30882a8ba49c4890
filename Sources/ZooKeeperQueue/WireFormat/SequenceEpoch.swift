import ZooKeeper

/// The epoch of the sequence numbers, as stored in the queue's node `epoch`: a value.
///
/// The server numbers the nodes created below `items` with 32 bits. After the last number it refuses every further
/// message. Long before that, a recovery creates `items` again, whose numbers then start at zero, and raises the epoch.
/// A client of this library that creates nodes below `items`, or claims them, checks this node's version in the same
/// multi, because a name means the same message only as long as the version stays.
struct SequenceEpoch: Sendable, Hashable {
    enum Phase: String {
        case open
        /// Messages of this very epoch may be in `earlier`.
        case moving
        /// Producers wait briefly for the next epoch.
        case closing
    }

    var number: UInt32 = 0
    var phase = Phase.open
    /// The version of the node.
    var version: Int32 = 0

    /// The tree format that this library knows. A later format is named after the phase.
    ///
    /// The format is stored in this node, because every client reads it first and checks its version in its
    /// transactions. A running client learns of a changed format at its next transaction, which is then not applied.
    static let format: UInt32 = 1

    init() {}

    /// Decodes the node `epoch`. An empty node is that of a new queue.
    ///
    /// - Throws: ``QueueError/Code/unsupportedFormat`` for a format that this library does not know,
    ///   ``QueueError/Code/failed`` for data that no library would write.
    init(_ node: Node) throws { try self.init(data: node.data, version: node.stat.version) }

    init(data: [UInt8]?, version: Int32) throws {
        self.version = version
        let words = String(decoding: data ?? [], as: UTF8.self).split(separator: " ")
        if words.isEmpty { return }
        if words.count > 2, let format = UInt32(words[2]), format > Self.format {
            throw QueueError(
                .unsupportedFormat,
                "The queue's tree has format \(format), but this release supports only formats up to "
                    + "\(Self.format). Use a newer release.")
        }
        guard (2...3).contains(words.count), words.count == 2 || UInt32(words[2]) != nil, let number = UInt32(words[0]),
            let phase = Phase(rawValue: String(words[1]))
        else {
            throw QueueError(
                .failed,
                "The queue's node \"epoch\" does not contain a number and a phase, because another client has "
                    + "overwritten it. Restore its data.")
        }
        (self.number, self.phase) = (number, phase)
    }

    /// The last sequence number that a producer of this library uses. After 2,147,483,647 the server continues with
    /// negative numbers, which would come first, or refuses further messages. The margin is so large that no batch in
    /// flight reaches that limit.
    static let lastNumber: Int32 = 2_147_000_000

    func encoded() -> [UInt8] { Array("\(number) \(phase.rawValue)".utf8) }

    /// Whether messages may be in `earlier`.
    var usesEarlier: Bool { number > 0 || phase != .open }

    /// Returns the operation that changes the node to another phase or number.
    func change(to phase: Phase, number: UInt32? = nil, in tree: QueueTree) -> ZooKeeperOperation {
        var next = self
        (next.phase, next.number) = (phase, number ?? self.number)
        return .set(tree.epoch, data: next.encoded(), version: version)
    }

    /// Returns a check that fails a multi when the node has changed, for a multi that uses names of this epoch.
    func check(in tree: QueueTree) -> ZooKeeperOperation { .check(tree.epoch, version: version) }

    /// Returns the path at which a requeued message is created.
    func path(of name: ItemName, in tree: QueueTree) -> String {
        name.epoch == number ? tree.item(name.untagged) : tree.earlier(name.string)
    }
}
