import ZooKeeper

/// How much a producer may still store before it measures the fill level of a queue with a capacity again: a value.
///
/// A producer takes half of its share of the free capacity. All producers together then do not take more than is free,
/// even when some of them started at the same moment and do not see each other yet. Crashed producers count as long as
/// their nodes are in the tree. A share is also at most a tenth of the capacity divided by the number of producers,
/// because other producers do not see a share that is not used yet, and may fill the queue meanwhile.
///
/// A producer that used up its share while no other producer stored anything takes twice as much the next time, up to
/// a fifth of the capacity. It returns to the careful share as soon as another producer stores a message. The overshoot
/// is then at most what consumers took between two measurements, and a tenth of the capacity.
struct CapacityBudget: Sendable {
    /// The fill level of a queue.
    struct Fill: Sendable, Hashable {
        let nodes: Int
        let bytes: Int?
        let producers: Int
    }

    /// Unused credit expires after this time.
    static let validity = Duration.milliseconds(100)
    /// A share is at most this part of the capacity, divided as the free capacity is.
    private static let largestPart = 5
    /// How long the last measurement can tell whether other producers are storing.
    private static let comparisonTime = Duration.seconds(1)

    var capacity = QueueCapacity()
    private var messages = 0
    private var bytes = 0
    private var end = Duration.zero
    /// The totals of what this producer has stored.
    private var stored = (nodes: 1.0, messages: 1.0)
    /// The fill level when the last share was taken, and how many nodes this producer has stored since.
    private var last: (nodes: Int, time: Duration)?
    private var storedSince = 0
    /// The producer takes one part in this many of the free capacity.
    private var divisor = 1

    /// Updates the average number of messages in a node.
    mutating func noteStored(nodes: Int, messages: Int) {
        stored = (stored.nodes + Double(nodes), stored.messages + Double(messages))
        storedSince += nodes
        // Halve the totals, because the average must follow when the sizes of the sends change.
        if stored.nodes > 10_000 { stored = (stored.nodes / 2, stored.messages / 2) }
    }

    func messages(in fill: Fill) -> Int { Int(Double(fill.nodes) * stored.messages / stored.nodes) }

    /// Takes a share of the free capacity.
    mutating func update(with fill: Fill, now: Duration) {
        let carefulDivisor = 2 * max(1, fill.producers)
        let isUsedUp = messages <= 0 || bytes <= 0
        let isAlone = last.map { now - $0.time <= Self.comparisonTime && fill.nodes <= $0.nodes + storedSince } ?? false
        divisor = isUsedUp && isAlone ? max(1, min(divisor, carefulDivisor) / 2) : carefulDivisor
        let divisor = divisor
        func share(of capacity: Int?, less used: Int) -> Int {
            guard let capacity else { return .max }
            return capacity <= used ? 0 : max(1, min(capacity - used, capacity / Self.largestPart) / divisor)
        }
        messages = share(of: capacity.messages, less: messages(in: fill))
        bytes = share(of: capacity.bytes, less: fill.bytes ?? 0)
        end = now + Self.validity
        // An empty share is used up at once, and says nothing about other producers.
        last = messages > 0 && bytes > 0 ? (fill.nodes, now) : nil
        storedSince = 0
    }

    /// Admits a send as a whole, as long as any credit is left.
    mutating func admits(_ entries: some Collection<ProducerSequence.Entry>, now: Duration) -> Bool {
        guard now < end, messages > 0, bytes > 0 else { return false }
        messages -= entries.count
        for entry in entries { bytes -= entry.data.count }
        return true
    }
}
