import ZooKeeper

/// What a consumer has read of the two lists of ready messages: a value.
struct Lists {
    var items: [String]?
    private(set) var earlier: [String]?
    /// The change of `earlier` that was seen last. Its reads may be heard of in another order than they were made in.
    private var zxid: Int64 = .min
    private let start: Duration
    private var end: Duration?

    init(since start: Duration = .zero, earlier: [String]? = nil) {
        self.start = start
        self.earlier = earlier
    }

    mutating func noteEarlier(_ children: NodeChildren) {
        guard children.stat.pzxid >= zxid else { return }
        zxid = children.stat.pzxid
        earlier = children.names
    }

    /// Both lists, once they were read.
    mutating func complete(at now: Duration) -> (items: [String], earlier: [String])? {
        guard let items, let earlier else { return nil }
        end = end ?? now
        return (items, earlier)
    }

    /// How long it took to read both for the first time.
    var took: Duration { (end ?? start) - start }
}
