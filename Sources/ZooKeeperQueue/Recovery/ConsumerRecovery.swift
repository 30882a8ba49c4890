import ZooKeeper

/// Moves the messages of failed consumers to `partial`, and removes the nodes of those consumers.
///
/// A consumer has failed when its ephemeral node is gone. Each transaction proves that again: it creates the ephemeral
/// node and deletes it, which fails while the consumer lives. So a recovery cannot take messages from a live consumer,
/// however outdated its view is.
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
        let names = try await queue.reader.names(tree.consumers)
        queue.skipped.keepFolders(of: names, below: tree.consumers)
        for name in queue.skipped.usable(names, in: tree.consumers) {
            let paths = tree.consumer(name)
            try await queue.skipped.handle(paths.path) {
                // This read only saves work. The guard in each transaction protects a live consumer.
                if try await store.exists(paths.active) == nil { try await recover(paths) }
            }
        }
    }

    private mutating func recover(_ paths: ConsumerPaths) async throws {
        guard let leases = try await queue.reader.namesIfPresent(paths.item) else {
            return try await removePendingRegistration(paths)
        }
        guard let node = try await queue.reader.node(paths.path) else { return }
        let consumer = FailedConsumer(paths: paths, version: node.stat.version, progress: BatchSettlements(node.data))
        var rest = queue.skipped.usable(leases, in: paths.item).sorted()[...]
        let skipsNone = rest.count == leases.count
        while !rest.isEmpty {
            guard try await moveToPartial(Array(rest.prefix(MessageMover.batchSize)), of: consumer) else { return }
            rest = rest.dropFirst(MessageMover.batchSize)
        }
        guard try await moveLegacyMessage(paths), skipsNone else { return }
        // The node of a consumer that lives or holds a message by now has a child, so it cannot be deleted.
        if try await store.attempt([.delete(paths.item), .delete(paths.path)], tolerating: .notEmpty, .noNode) {
            report.consumersRemoved += 1
        }
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

    /// Moves leased messages of a consumer.
    ///
    /// - Returns: `false` when the consumer lives or has changed.
    private mutating func moveToPartial(_ names: [String], of consumer: FailedConsumer) async throws -> Bool {
        let moves = try await mover.moves(names, from: consumer.paths.lease) { move(of: $0, $1, consumer) }
        let outcome = try await mover.apply(moves, guardedBy: .consumer(consumer))
        report.recovered += outcome.count
        return outcome.isComplete
    }

    /// Splits a batch: each of its unsettled messages becomes a node with a separate delivery count.
    private func move(of name: String, _ node: Node, _ consumer: FailedConsumer) -> MessageMove {
        var move = MessageMove(from: consumer.paths.lease(name), version: node.stat.version, store: store)
        guard let item = ItemName(name), case .batch(let batch) = Envelope.read(node.data ?? []) else {
            move.messages = [.init(path: tree.partial(name), data: node.data)]
            return move
        }
        move.messages = batch.records.enumerated().compactMap { index, record in
            consumer.progress.isSettled(index, of: name)
                ? nil : .init(path: tree.partial(item.message(index).string), data: record)
        }
        return move
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
