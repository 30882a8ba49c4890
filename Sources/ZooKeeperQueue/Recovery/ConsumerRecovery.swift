import Logging
import ZooKeeper

/// Moves the messages of failed consumers to `partial`, and removes the nodes of those consumers. Takes the leases of
/// consumers whose session lives, but which do not renew them.
///
/// A consumer has failed when its ephemeral node is gone. Each transaction proves that again: it creates the ephemeral
/// node and deletes it, which fails while the consumer lives. So a recovery cannot take messages from a live consumer,
/// however outdated its view is.
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
    private var leases: LeaseMover { LeaseMover(queue: queue, mover: mover) }

    mutating func run() async throws {
        let timeout = try await LeaseTimeout(queue, ages)
        let names = try await queue.reader.names(tree.consumers)
        queue.skipped.keepFolders(of: names, below: tree.consumers)
        for name in queue.skipped.usable(names, in: tree.consumers) {
            let paths = tree.consumer(name)
            try await queue.skipped.handle(paths.path) {
                // This read only saves work. The guard in each transaction protects a live consumer.
                guard let active = try await queue.reader.node(paths.active) else { return try await recover(paths) }
                if let timeout, active.data == ConsumerPaths.renewing {
                    try await takeLeases(of: paths, after: timeout)
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
        let outcome = try await leases.move(usable, from: .init(paths, node), isAlive: false)
        report.recovered += outcome.count
        guard outcome.isComplete, try await moveLegacyMessage(paths), usable.count == names.count else { return }
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
        if names.isEmpty { return }
        let outcome = try await leases.move(names, from: .init(paths, node), isAlive: true)
        report.recovered += outcome.count
        queue.logger.warning(
            "Took the leases of a consumer that does not renew them",
            metadata: ["consumer": "\(paths.path)", "messages": "\(outcome.count)"])
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

    /// Returns `nil` when the queue has none.
    init?(_ queue: MessageQueue, _ ages: NodeAges) async throws {
        let settings = try await queue.reader.node(queue.tree.settings)
        guard let duration = QueueAttributes(settings?.data).leaseTimeout else { return nil }
        self.duration = duration
        isEstablished =
            settings.map { ages.hasExpired(queue.tree.settings, $0.stat, since: $0.stat.mtime, after: duration) }
            ?? true
    }
}
