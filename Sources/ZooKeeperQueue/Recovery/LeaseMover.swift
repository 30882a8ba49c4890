import ZooKeeper

/// Moves leased messages of a consumer to `partial`, from where a recovery redelivers them.
struct LeaseMover {
    let queue: MessageQueue
    let mover: MessageMover

    /// Moves the nodes with these names, at most ``MessageMover/batchSize`` of them.
    ///
    /// - Parameters:
    ///   - consumer: the consumer, as it was read before the names.
    ///   - isAlive: whether the consumer's session lives. It then keeps the leases if it has sent a transaction since.
    func move(_ names: [String], from consumer: ObservedConsumer, isAlive: Bool) async throws -> MessageMover.Outcome {
        let moves = try await mover.moves(names, from: consumer.paths.lease) { move(of: $0, $1, consumer) }
        return try await mover.apply(moves, guardedBy: isAlive ? .silentConsumer(consumer) : .failedConsumer(consumer))
    }

    /// Splits a batch: each of its unsettled messages becomes a node with a separate delivery count.
    private func move(of name: String, _ node: Node, _ consumer: ObservedConsumer) -> MessageMove {
        var move = MessageMove(from: consumer.paths.lease(name), version: node.stat.version, store: queue.store)
        guard let item = ItemName(name), case .batch(let batch) = Envelope.read(node.data ?? []) else {
            move.messages = [.init(path: queue.tree.partial(name), data: node.data)]
            return move
        }
        move.messages = batch.records.enumerated().compactMap { index, record in
            consumer.progress.isSettled(index, of: name)
                ? nil : .init(path: queue.tree.partial(item.message(index).string), data: record)
        }
        return move
    }
}

/// A consumer, as read from the tree.
struct ObservedConsumer {
    let paths: ConsumerPaths
    let version: Int32
    let progress: BatchSettlements

    init(_ paths: ConsumerPaths, _ node: Node) {
        (self.paths, version, progress) = (paths, node.stat.version, BatchSettlements(node.data))
    }
}
