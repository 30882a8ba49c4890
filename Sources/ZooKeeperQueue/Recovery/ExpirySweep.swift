import CoreMetrics
import ZooKeeper

/// Settles expired messages of a queue that hands out none, because it has no consumer or is paused. Otherwise
/// consumers settle them.
///
/// Each sweep reads one part of the ready messages, and sweeps that follow each other read different parts. So its cost
/// does not depend on the length of the queue. A node with several messages is left to consumers until all of them have
/// expired, and a message of a group, on which other messages depend, in any case.
struct ExpirySweep: RecoveryDuty {
    let queue: MessageQueue
    let mover: MessageMover
    /// The ensemble's clock: the earliest time that it can show.
    let now: EnsembleTime
    /// How often the recovery sweeps.
    let interval: Duration
    private(set) var report = RecoveryReport()

    /// How many nodes a sweep reads.
    static let maximumNodes = 2_000

    init(queue: MessageQueue, mover: MessageMover, now: EnsembleTime, interval: Duration) {
        (self.queue, self.mover, self.now, self.interval) = (queue, mover, now, interval)
    }

    mutating func run() async throws {
        let attributes = try await queue.attributeStore.read()
        let consumers = try await queue.reader.names(queue.tree.consumers)
        guard consumers.isEmpty || attributes.paused.contains(.consume) else { return }
        let (entries, epoch) = try await queue.reader.readyEntries()
        var rest = part(of: entries.sorted())
        while !rest.isEmpty {
            try Task.checkCancellation()
            let batch = rest.prefix(MessageMover.batchSize)
            rest = rest.dropFirst(batch.count)
            let paths = batch.map { $0.path(in: queue.tree) }
            let moves = zip(batch, try await queue.reader.readUsable(paths)).compactMap { entry, node in
                node.flatMap { move(entry, $0, attributes.whenExpired) }
            }
            let outcome = try await mover.apply(moves, guardedBy: .epoch(epoch))
            report.expired += outcome.count
            queue.metrics.expired.increment(by: outcome.count)
            guard outcome.isComplete else { return }
        }
    }

    private func part(of entries: [ReadyList.Entry]) -> ArraySlice<ReadyList.Entry> {
        let parts = max(1, (entries.count + Self.maximumNodes - 1) / Self.maximumNodes)
        let number = Int(now.millisecondsSince1970 / max(1, Int64(interval / .milliseconds(1)))) % parts
        return entries.dropFirst(number * Self.maximumNodes).prefix(Self.maximumNodes)
    }

    /// Returns the move of a node whose messages have all expired.
    private func move(_ entry: ReadyList.Entry, _ node: Node, _ whenExpired: QueueAttributes.WhenExpired)
        -> MessageMove?
    {
        guard let readable = MessageNode(entry, node: node),
            readable.messages.allSatisfy({ message in
                message.envelope.group == nil && message.envelope.expiresAt.map { $0 <= now } ?? false
            })
        else { return nil }
        var move = MessageMove(from: entry.path(in: queue.tree), version: node.stat.version, store: queue.store)
        guard whenExpired == .deadLetter else {
            move.deleted = readable.messages.count
            return move
        }
        move.cause = "expired"
        move.messages = readable.messages.map { message in
            .init(path: queue.tree.dead(message.name.string), data: message.data)
        }
        return move
    }
}
