import Logging
import ZooKeeper

/// One look through the queue for what has failed. Every step that changes something is one multi, guarded by itself.
///
/// A node that cannot be handled is skipped, and a duty that fails does not keep the pass from the others.
struct RecoveryPass {
    let queue: MessageQueue
    /// The ensemble's clock: milliseconds since 1970.
    let now: Int64
    var report = RecoveryReport()
    /// The first refusal that concerned a whole folder.
    private(set) var refusal: ZooKeeperError?
    /// What the passes of this process have seen.
    var observations: Observations
    /// How much goes into one transaction, beside a server that breaks off larger ones.
    let limit: SharedLimit

    var store: any ZooKeeperStore { queue.store }
    var tree: QueueTree { queue.tree }

    /// How old a consumer's node without an ephemeral node and without leases must be: a foreign client may be about to
    /// register.
    private static let registrationGrace: Duration = .seconds(5)
    /// Nodes moved by one multi, if they fit.
    static let batchSize = 100

    init(_ queue: MessageQueue, now: Int64, observations: Observations, limit: SharedLimit) {
        self.limit = limit
        self.queue = queue
        self.now = now
        self.observations = observations
    }

    /// Does one of the recovery's duties. Keeps an error of ZooKeeper's, and throws it when the other duties are done.
    mutating func perform(_ duty: (inout RecoveryPass) async throws -> Void) async throws {
        do {
            try await duty(&self)
        } catch let error as FolderRefusal {
            refusal = refusal ?? error.cause
        } catch let error as ZooKeeperError where error.isRefusal {
            refusal = refusal ?? error
        }
    }

    /// Handles one node, and skips it when ZooKeeper refuses the operation.
    private mutating func handle(
        _ path: String, _ body: (inout RecoveryPass) async throws -> Void
    ) async throws {
        try Task.checkCancellation()
        do {
            try await body(&self)
            queue.skipped.handled(path)
        } catch let error as ZooKeeperError where error.isRefusal {
            queue.skipped.skip(path, error)
        }
    }

    /// The children of a folder except those that are skipped.
    private func usableChildren(_ folder: String) async throws -> [String] {
        queue.skipped.usable(try await children(folder) ?? [], in: folder)
    }

    // MARK: Consumers

    /// Takes what failed consumers hold, and removes their nodes.
    mutating func recoverConsumers() async throws {
        let names = try await children(tree.consumers) ?? []
        queue.skipped.keepFolders(of: names, below: tree.consumers)
        for name in queue.skipped.usable(names, in: tree.consumers) {
            let paths = tree.consumer(name)
            try await handle(paths.path) { pass in
                // This only saves work. The guard in each multi protects a living consumer.
                if try await pass.store.exists(paths.active) == nil { try await pass.recover(paths) }
            }
        }
    }

    private mutating func recover(_ paths: ConsumerPaths) async throws {
        guard let leases = try await children(paths.item) else { return try await removeHalfMade(paths) }
        guard let consumer = try await queue.node(paths.path) else { return }
        let registration = FailedConsumer(
            paths: paths, version: consumer.stat.version, progress: LeaseProgress(consumer.data))
        var rest = queue.skipped.usable(leases, in: paths.item).sorted()[...]
        let mayBeEmpty = rest.count == leases.count
        while !rest.isEmpty {
            guard try await moveToPartial(Array(rest.prefix(Self.batchSize)), of: registration) else { return }
            rest = rest.dropFirst(Self.batchSize)
        }
        guard try await saveAncestorsItem(paths), mayBeEmpty else { return }
        do {
            // Fails when the consumer lives or holds something by now.
            _ = try await store.multi([.delete(paths.item), .delete(paths.path)])
            report.consumersRemoved += 1
        } catch let error as ZooKeeperError
            where error.code == .notEmpty || error.code == .noNode || error.outcome == .unknown
        {
            // The next pass looks again.
        }
    }

    /// A consumer that has failed, or is foreign, between the steps of its registration.
    private mutating func removeHalfMade(_ paths: ConsumerPaths) async throws {
        guard let stat = try await store.exists(paths.path), isOlder(stat.ctime, than: Self.registrationGrace) else {
            return
        }
        do {
            try await store.delete(paths.path, version: nil)
            report.consumersRemoved += 1
        } catch let error as ZooKeeperError where error.code == .noNode || error.outcome == .unknown {
            // Another client was faster; or the next pass looks again.
        }
    }

    /// A batch comes apart here: what is not settled of it becomes single messages, each with a count of its own.
    ///
    /// - Returns: whether to go on: the consumer has failed.
    private mutating func moveToPartial(
        _ names: [String], of registration: FailedConsumer
    ) async throws -> Bool {
        let (paths, progress) = (registration.paths, registration.progress)
        let moves = try await moves(names, from: paths.lease) { name, node in
            var move = Move(from: paths.lease(name), version: node.stat.version, store: store)
            guard let item = ItemName(name), case .batch(let batch) = Envelope.read(node.data ?? []) else {
                move.messages = [.init(path: tree.partial(name), data: node.data)]
                return move
            }
            move.messages = batch.records.enumerated().compactMap { index, record in
                progress.isSettled(index, of: name)
                    ? nil : .init(path: tree.partial(item.message(index).string), data: record)
            }
            return move
        }
        let outcome = try await apply(moves, guardedBy: .consumer(registration))
        report.recovered += outcome.count
        return outcome.isComplete
    }

    /// The Python ancestor keeps its one message as the data of the node that is the parent of leases here. The name
    /// that the message had is not known, so it gets the default priority and a number of its own.
    private mutating func saveAncestorsItem(_ paths: ConsumerPaths) async throws -> Bool {
        guard let node = try await queue.node(paths.item), let data = node.data, !data.isEmpty else { return true }
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
            // It lives, or has changed, or it is done: the next pass looks again.
            return false
        }
    }

    // MARK: Partial

    /// Gives back what waits in `partial`, in its old place, or gives it up.
    mutating func redeliver() async throws {
        let names = try await usableChildren(tree.partial).sorted()
        if names.isEmpty { return }
        let epoch = try await queue.sequenceEpoch()
        let shared = try await queue.sharedSettings()
        let delay = shared.redeliveryDelay ?? queue.settings.redeliveryDelay
        let maximumDeliveries = shared.maximumDeliveries ?? queue.settings.maximumDeliveries
        var rest = names[...]
        while !rest.isEmpty {
            try Task.checkCancellation()
            let moves = try await moves(Array(rest.prefix(Self.batchSize)), from: tree.partial) { name, node in
                guard isOlder(node.stat.ctime, than: delay) else { return nil }
                return redelivery(name, node, epoch, maximumDeliveries)
            }
            report.deadLettered += try await apply(moves.filter { $0.cause != nil }, guardedBy: .nothing).count
            let outcome = try await apply(moves.filter { $0.cause == nil }, guardedBy: .epoch(epoch))
            report.redelivered += outcome.count
            // In another epoch the places are other ones: the next pass looks again.
            if !outcome.isComplete { return }
            rest = rest.dropFirst(Self.batchSize)
        }
    }

    private func redelivery(
        _ name: String, _ node: Node, _ epoch: SequenceEpoch, _ maximumDeliveries: Int
    ) -> Move {
        var move = Move(from: tree.partial(name), version: node.stat.version, store: store)
        let data = Envelope.restored(node.data)
        guard let item = ItemName(name) else {
            move.messages = [.init(path: tree.dead(name), data: data)]
            move.cause = "its name is no item's"
            return move
        }
        let next = item.with(returns: item.returns + 1)
        if next.returns >= maximumDeliveries {
            move.messages = [.init(path: tree.dead(next.string), data: data)]
            move.cause = "delivered \(next.returns) times, and its last consumer failed"
        } else {
            move.messages = [.init(path: epoch.place(of: next, in: tree), data: data)]
        }
        return move
    }

    // MARK: Garbage

    /// Removes lanes of producers that have been silent for long.
    mutating func removeLanes() async throws {
        for name in try await usableChildren(tree.producers) {
            let path = tree.lane(name)
            try await handle(path) { pass in
                guard let stat = try await pass.store.exists(path),
                    pass.hasExpired(path, stat, since: stat.mtime, after: pass.queue.settings.laneRetention)
                else { return }
                // A producer that has come back meanwhile has changed the version.
                if try await pass.remove([.delete(path, version: stat.version)]) { pass.report.lanesRemoved += 1 }
            }
        }
    }

    /// Removes items that were created empty and never filled. Consumers pass over them, so they come to stand at the
    /// head of the queue; the first hundred are looked at.
    mutating func removeUnfilled() async throws {
        let epoch = try await queue.sequenceEpoch()
        let names = try await usableChildren(tree.items).compactMap { ItemName($0, inEpoch: 0) }.sorted().prefix(100)
        for path in names.map({ tree.item($0.untagged) }) {
            // Nothing is noted as handled here: a consumer may skip it for another reason.
            guard let stat = try await queue.usableStat(path), stat.dataLength == 0, stat.version == 0,
                hasExpired(path, stat, since: stat.ctime, after: queue.settings.unfilledItemAge)
            else { continue }
            try await handle(path) { pass in
                if try await pass.remove([epoch.check(in: pass.tree), .delete(path, version: 0)]) {
                    pass.report.unfilledRemoved += 1
                }
            }
        }
    }

    /// - Returns: whether this recovery removed it. Without an answer, the next pass looks again.
    private func remove(_ operations: [Operation]) async throws -> Bool {
        do {
            _ = try await store.multi(operations)
            return true
        } catch let error as ZooKeeperError
            where error.code == .noNode || error.code == .badVersion || error.outcome == .unknown
        {
            return false
        }
    }

    // MARK: Reading

    /// Of something that is younger than this pass, no age is known.
    func isOlder(_ time: Int64, than age: Duration) -> Bool { age <= .zero || .milliseconds(now - time) >= age }

    /// Whether a node is old enough to be removed: by the ensemble's clock, and by how long this process has seen it unchanged.
    mutating func hasExpired(_ path: String, _ stat: Stat, since time: Int64, after age: Duration) -> Bool {
        let hasStood = observations.hasStood(path, stamp: stat.mzxid, for: age, at: store.now)
        return hasStood && isOlder(time, than: age)
    }

    func children(_ path: String) async throws -> [String]? {
        do {
            return try await store.children(of: path).names
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }

    func ignoring(_ codes: ZooKeeperError.Code..., body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch let error as ZooKeeperError where codes.contains(error.code) || error.outcome == .unknown {
            // Somebody was faster; or the next pass looks again.
        }
    }
}
