import ZooKeeper

/// A scan of the two folders of ready messages, from its beginning to its end: a value.
struct Scan: Sendable {
    /// The consumer's position in the wait queue when the scan began.
    let position: ConsumerStateMachine.Position
    /// Whether to read the folders once although the consumer is not the first in the wait queue.
    let isForced: Bool
    /// Items that are still being written. A change of one is a reason to scan again.
    let watched: [String]

    /// The result of a scan: the messages to try, and how long it took to read their names.
    struct Findings: Sendable {
        let entries: [ReadyList.Entry]
        let took: Duration
    }

    /// The epoch in which the folders are read.
    private(set) var epoch: SequenceEpoch?
    private var items: [String]?
    /// The names in `earlier`, once they were read.
    private(set) var earlier: [String]?
    /// The last change of `earlier` that was seen. Results of its reads may arrive out of order.
    private var zxid: Int64 = .min
    private var start = Duration.zero
    private var end: Duration?

    init(from position: ConsumerStateMachine.Position, isForced: Bool, watching watched: [String]) {
        self.position = position
        self.isForced = isForced
        self.watched = watched
    }

    /// Whether the consumer lists the messages itself, because it is not in the wait queue or is the first there.
    var listsMessages: Bool {
        if case .waiting = position { false } else { true }
    }

    /// Begins to read the folders, which a scan may do more than once.
    ///
    /// - Parameter epoch: the epoch, which tells whether messages may be in `earlier`. It is not read otherwise.
    mutating func listingBegins(now: Duration, in epoch: SequenceEpoch) {
        self = Scan(from: position, isForced: isForced, watching: watched)
        start = now
        self.epoch = epoch
        earlier = epoch.usesEarlier ? nil : []
    }

    mutating func listed(_ names: [String]) { items = names }

    mutating func listed(earlier children: NodeChildren) {
        guard children.stat.pzxid >= zxid else { return }
        zxid = children.stat.pzxid
        earlier = children.names
    }

    /// Returns the names in both folders, once both were read.
    mutating func complete(at now: Duration) -> (items: [String], earlier: [String])? {
        guard let items, let earlier else { return nil }
        end = end ?? now
        return (items, earlier)
    }

    /// How long it took to read both folders for the first time.
    var took: Duration { (end ?? start) - start }
}
