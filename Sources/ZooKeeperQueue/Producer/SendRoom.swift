import ZooKeeper

/// How much a producer may still store before it looks again how full a queue with a bound is: a value.
///
/// Of what is free, a producer takes half of its share, so that all producers together do not take more, also when some of them
/// have begun in the same moment and do not see each other yet. Producers that have crashed are counted as long as their lanes
/// stand in the tree. So a producer that used its share up while no other one stored anything takes twice as much the next time,
/// up to all that is free, and is careful again as soon as another one stores. What is stored above the bound then is at most
/// what consumers took between two looks.
struct SendRoom: Sendable {
    /// How full a queue is.
    struct Fill: Sendable, Hashable {
        let nodes: Int
        let bytes: Int?
        let producers: Int
    }

    /// Whoever took a share and did not use it would otherwise believe in it for ever.
    static let validity = Duration.milliseconds(250)
    /// How long the last observed fill tells whether other producers are storing.
    private static let memory = Duration.seconds(1)

    var bound = QueueBound()
    private var messages = 0
    private var bytes = 0
    private var end = Duration.zero
    /// What this producer has stored.
    private var stored = (nodes: 1.0, messages: 1.0)
    /// The fill when the last share was taken, and how many nodes this producer has stored since.
    private var last: (nodes: Int, time: Duration)?
    private var storedSince = 0
    /// The producer takes one part in this many of the free room.
    private var parts = 1

    /// Learns from what was stored how many messages a node has.
    mutating func noteStored(nodes: Int, messages: Int) {
        stored = (stored.nodes + Double(nodes), stored.messages + Double(messages))
        storedSince += nodes
        // So that it follows when the sends become others.
        if stored.nodes > 10_000 { stored = (stored.nodes / 2, stored.messages / 2) }
    }

    func messages(in fill: Fill) -> Int { Int(Double(fill.nodes) * stored.messages / stored.nodes) }

    /// Takes a share of what is free.
    mutating func look(at fill: Fill, now: Duration) {
        let careful = 2 * max(1, fill.producers)
        let isUsedUp = messages <= 0 || bytes <= 0
        let isAlone = last.map { now - $0.time <= Self.memory && fill.nodes <= $0.nodes + storedSince } ?? false
        parts = isUsedUp && isAlone ? max(1, min(parts, careful) / 2) : careful
        let parts = parts
        func share(of bound: Int?, less used: Int) -> Int {
            guard let bound else { return .max }
            return bound <= used ? 0 : max(1, (bound - used) / parts)
        }
        messages = share(of: bound.messages, less: messages(in: fill))
        bytes = share(of: bound.bytes, less: fill.bytes ?? 0)
        end = now + Self.validity
        // An empty share is used up at once, and says nothing about other producers.
        last = messages > 0 && bytes > 0 ? (fill.nodes, now) : nil
        storedSince = 0
    }

    /// Lets a send go as a whole, as long as anything is left.
    mutating func admits(_ entries: some Collection<SendLane.Entry>, now: Duration) -> Bool {
        guard now < end, messages > 0, bytes > 0 else { return false }
        messages -= entries.count
        for entry in entries { bytes -= entry.data.count }
        return true
    }
}
