import ZooKeeper

/// Which run of the server's numbers is under way, as it stands in the queue's node `epoch`: a value.
///
/// The server numbers what is created below `items` with 32 bits, and after the last number it refuses every further
/// message. Long before that, a recovery makes `items` anew, whose numbers then begin at zero, and counts the epoch.
/// Who creates below `items`, or takes from it, checks this node's version in the same multi: a name means the same
/// message only as long as the version stays.
struct SequenceEpoch: Sendable, Hashable {
    enum Phase: String {
        case open
        /// Messages of this very epoch may stand in `earlier`.
        case moving
        /// Producers wait for the next epoch for some moments.
        case closing
    }

    var number: UInt32 = 0
    var phase = Phase.open
    /// The version of the node.
    var version: Int32 = 0

    /// The format of the tree that this library knows; a later one is named behind the phase.
    ///
    /// It stands in this node, since this is what every member reads before it does anything, and checks with whatever
    /// it does: one that is at work when the format changes learns it at its next step, which is not applied.
    static let format: UInt32 = 1

    init() {}

    /// - Throws: ``QueueError/Code/unsupportedFormat`` for a format that this library does not know; another error when
    ///   the node does not hold what any library would write. An empty one is a new queue's.
    init(_ node: Node) throws { try self.init(data: node.data, version: node.stat.version) }

    init(data: [UInt8]?, version: Int32) throws {
        self.version = version
        let words = String(decoding: data ?? [], as: UTF8.self).split(separator: " ")
        if words.isEmpty { return }
        if words.count > 2, let format = UInt32(words[2]), format > Self.format {
            throw QueueError(
                .unsupportedFormat,
                "The queue's tree is of format \(format), and this library knows no later one than \(Self.format): use a newer "
                    + "release.")
        }
        guard (2...3).contains(words.count), words.count == 2 || UInt32(words[2]) != nil, let number = UInt32(words[0]),
            let phase = Phase(rawValue: String(words[1]))
        else {
            throw QueueError(
                .failed,
                "The node epoch of the queue does not hold a number and a phase: somebody else has written to it.")
        }
        (self.number, self.phase) = (number, phase)
    }

    /// The last number that a producer of this library uses. After 2,147,483,647 the server goes on with negative ones,
    /// which would come first, or refuses; so many are left that no batch that is under way gets there.
    static let lastNumber: Int32 = 2_147_000_000

    func encoded() -> [UInt8] { Array("\(number) \(phase.rawValue)".utf8) }

    /// Whether messages may stand in `earlier`.
    var usesEarlier: Bool { number > 0 || phase != .open }

    /// The change of the node to another state.
    func change(to phase: Phase, number: UInt32? = nil, in tree: QueueTree) -> Operation {
        var next = self
        (next.phase, next.number) = (phase, number ?? self.number)
        return .set(tree.epoch, data: next.encoded(), version: version)
    }

    /// Fails a multi in which names of this epoch are used, when it is over.
    func check(in tree: QueueTree) -> Operation { .check(tree.epoch, version: version) }

    /// Where a message comes to stand that is ready again.
    func place(of name: ItemName, in tree: QueueTree) -> String {
        name.epoch == number ? tree.item(name.untagged) : tree.earlier(name.string)
    }
}
