import ZooKeeper

/// Takes one lease away from the consumer that holds it, at an operator's request.
struct LeaseRelease {
    let queue: MessageQueue

    private static let attempts = 20

    private var store: any ZooKeeperStore { queue.store }
    private var tree: QueueTree { queue.tree }

    func release(_ name: String) async throws {
        guard !name.contains("/"), !name.isEmpty else {
            throw QueueError(.invalidArgument, "The name of a leased node cannot be empty or contain a slash.")
        }
        try await QueueError.translating(while: "releasing a lease", queue: queue.path) {
            try await queue.prepareExisting()
            // Throws for a format that this release does not know.
            _ = try await queue.reader.sequenceEpoch()
            guard try await store.capabilities.contains(.transactions) else {
                throw QueueError(
                    .invalidArgument, "Releasing a lease requires a store with transactions. Use another store.")
            }
            let mover = LeaseMover(queue: queue, mover: MessageMover(queue))
            var consumers: [ConsumerPaths]?
            var isUncertain = false
            for _ in 0..<Self.attempts {
                guard let consumer = try await holder(of: name, among: consumers) else {
                    // After a lost reply, the lease of a transaction that was applied is gone.
                    if isUncertain { return }
                    throw QueueError(
                        .notFound,
                        "No consumer of \(queue.path) holds a node with this name. List the consumers to see what they "
                            + "hold.")
                }
                // A consumer that sends a transaction in between keeps the lease, so try again.
                let outcome = try await mover.move([name], from: consumer, isAlive: true)
                if outcome.count > 0 { return }
                isUncertain = isUncertain || outcome.isUncertain
                // Another consumer may receive the message meanwhile, and keeps it.
                consumers = [consumer.paths]
            }
            throw QueueError(
                .timedOut,
                "The lease was not taken away, because its consumer sent a transaction at each attempt, or because "
                    + "ZooKeeper refused the move. Nothing was changed. Try again.")
        }
    }

    /// Returns the consumer that holds a node.
    private func holder(of name: String, among consumers: [ConsumerPaths]?) async throws -> ObservedConsumer? {
        let all = try await queue.reader.usableNames(tree.consumers).map(tree.consumer)
        for consumer in consumers ?? all {
            guard let node = try await queue.reader.usableNode(consumer.path),
                try await queue.reader.usableStat(consumer.lease(name)) != nil
            else { continue }
            try await requireNotice(by: consumer)
            return ObservedConsumer(consumer, node)
        }
        return nil
    }

    /// Throws when a live consumer would not notice that a lease was taken away.
    func requireNotice(by consumer: ConsumerPaths) async throws {
        let active = try await queue.reader.read([consumer.active])[0]
        if active.isMissing || active.node?.data == ConsumerPaths.renewing { return }
        throw QueueError(
            .invalidArgument,
            "The consumer \(NodePath.name(of: consumer.path)) belongs to a release or a client that does not notice when a "
                + "lease is taken away. End its process instead.")
    }
}
