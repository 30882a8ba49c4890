import Logging
import ZooKeeper

/// Moves the messages of failed consumers to `partial`, and removes the nodes of those consumers. Takes the leases of
/// consumers whose session lives, but which do not renew them.
///
/// A consumer has failed when its ephemeral node is gone. Each transaction proves that again: it creates the ephemeral
/// node and deletes it, which fails while the consumer lives. So such a transaction takes no message from a live
/// consumer, however outdated the recovery's view is.
///
/// A consumer is wedged when it holds leases and its node has not changed for the lease timeout, by the ensemble's clock
/// and by this process's own. Each transaction checks that the node is still unchanged, so a consumer that renews its
/// leases in the last moment keeps them.
struct ConsumerRecovery: RecoveryDuty {
    let queue: MessageQueue
    let mover: MessageMover
    let ages: NodeAges
    private(set) var report = RecoveryReport()

    /// How old an unfinished registration must be before it is removed. A younger one may belong to a client
    /// that is about to complete it.
    private static let registrationGrace = Duration.seconds(5)

    private var store: any ZooKeeperStore { queue.store }
    private var tree: QueueTree { queue.tree }

    mutating func run() async throws {
        let timeout = try await LeaseTimeout(queue, ages)
        let names = try await queue.reader.names(tree.consumers)
        queue.skipped.keepFolders(of: names, below: tree.consumers)
        for name in queue.skipped.usable(names, in: tree.consumers) {
            let paths = tree.consumer(name)
            try await queue.skipped.handle(paths.path) {
                // This read only saves work. The guard in each transaction protects a live consumer.
                switch try await queue.reader.read([paths.active])[0] {
                case .missing: try await recover(paths)
                case .node(let active) where active.data == ConsumerPaths.renewing:
                    if let timeout { try await takeLeases(of: paths, after: timeout) }
                // The consumer lives. It belongs to another release or client.
                case .node, .refused: break
                }
            }
        }
    }

    private mutating func recover(_ paths: ConsumerPaths) async throws {
        guard let names = try await queue.reader.namesIfPresent(paths.item) else {
            return try await removePendingRegistration(paths)
        }
        guard let node = try await queue.reader.node(paths.path) else { return }
        let usable = queue.skipped.usable(names, in: paths.item)
        guard try await move(usable, from: .init(paths, node), isAlive: false), try await moveLegacyMessage(paths),
            usable.count == names.count
        else { return }
        // The node of a consumer that lives or holds a message by now has a child, so it cannot be deleted.
        if try await store.attempt([.delete(paths.item), .delete(paths.path)], tolerating: .notEmpty, .noNode) {
            report.consumersRemoved += 1
        }
    }

    /// Takes the leases of a live consumer that has not renewed them.
    private mutating func takeLeases(of paths: ConsumerPaths, after timeout: LeaseTimeout) async throws {
        guard let node = try await queue.reader.node(paths.path),
            ages.hasExpired(paths.path, node.stat, since: node.stat.mtime, after: timeout.duration),
            timeout.isEstablished
        else { return }
        let names = try await queue.reader.usableNames(paths.item)
        let before = report.recovered
        _ = try await move(names, from: .init(paths, node), isAlive: true)
        if report.recovered == before { return }
        queue.logger.warning(
            "Took the leases of a consumer that does not renew them",
            metadata: ["consumer": "\(paths.path)", "messages": "\(report.recovered - before)"])
    }

    /// Moves leased messages of a consumer to `partial`.
    ///
    /// - Returns: `false` when the consumer has changed.
    private mutating func move(_ names: [String], from consumer: ObservedConsumer, isAlive: Bool) async throws -> Bool {
        let leases = LeaseMover(queue: queue, mover: mover)
        var rest = names.sorted()[...]
        while !rest.isEmpty {
            let batch = rest.prefix(MessageMover.batchSize)
            let outcome = try await leases.move(Array(batch), from: consumer, isAlive: isAlive)
            report.recovered += outcome.count
            guard outcome.isComplete else { return false }
            rest = rest.dropFirst(batch.count)
        }
        return true
    }

    /// Removes the node of a consumer that failed in the middle of its registration.
    private mutating func removePendingRegistration(_ paths: ConsumerPaths) async throws {
        guard let stat = try await store.exists(paths.path), ages.isOlder(stat.ctime, than: Self.registrationGrace)
        else { return }
        do {
            try await store.delete(paths.path, version: nil)
            report.consumersRemoved += 1
        } catch let error as ZooKeeperError where error.code == .noNode || error.outcome == .unknown {
            // Another client was faster, or the next pass tries again.
        }
    }

    /// Moves the message of a legacy client, the Python one, which keeps its only message as the data of the node that
    /// is the parent of the leases here. The message's name is lost, so it gets the default priority and a new number.
    ///
    /// - Returns: `false` when the next pass must try again, because the consumer lives or has changed, or
    ///   because the reply was lost.
    private mutating func moveLegacyMessage(_ paths: ConsumerPaths) async throws -> Bool {
        guard let node = try await queue.reader.node(paths.item), let data = node.data, !data.isEmpty else {
            return true
        }
        do {
            _ = try await store.multi([
                .create(paths.active, data: []),
                .set(paths.item, data: [], version: node.stat.version),
                .create(tree.partial(ItemName.prefix(priority: 100)), data: data, mode: .persistentSequential),
                .delete(paths.active),
            ])
            report.recovered += 1
            return true
        } catch let error as ZooKeeperError where error.operationIndex != nil || error.outcome == .unknown {
            return false
        }
    }
}

/// The lease timeout of a queue.
private struct LeaseTimeout {
    let duration: Duration
    /// Whether it has been the same for so long that each consumer has renewed its leases in time.
    let isEstablished: Bool

    /// The least time to wait after a change, during which a consumer may have been disconnected from the ensemble.
    private static let grace = Duration.seconds(60)

    /// Returns `nil` when the queue has no timeout, or the client may not read it. A store without transactions cannot
    /// take leases from live consumers, because it cannot check that a consumer is silent and move a message at once.
    init?(_ queue: MessageQueue, _ ages: NodeAges) async throws {
        guard try await queue.store.capabilities.contains(.transactions) else { return nil }
        let reading = try await queue.reader.read([queue.tree.settings])[0]
        if case .refused = reading { return nil }
        guard let duration = QueueAttributes(reading.node?.data).leaseTimeout else { return nil }
        self.duration = duration
        // The settings of a queue at its creation are known to each consumer.
        guard let stat = reading.node?.stat, stat.version > 0 else {
            isEstablished = true
            return
        }
        isEstablished = ages.hasExpired(
            queue.tree.settings, stat, since: stat.mtime, after: max(duration, Self.grace))
    }
}
