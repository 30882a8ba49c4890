import ZooKeeper

/// Lists, cancels and delivers the delayed messages of a queue.
struct DelayedQueue: Sendable {
    let queue: MessageQueue

    private var store: any ZooKeeperStore { queue.store }
    private var tree: QueueTree { queue.tree }

    // MARK: All delayed messages

    func list(limit: Int) async throws -> [DelayedMessage] {
        if limit <= 0 { return [] }
        return try await QueueError.translating(while: "listing delayed messages", queue: queue.path) {
            var messages: [DelayedMessage] = []
            try await forEachSlot { slot, names in
                let names = names.compactMap { DelayedName($0) }.sorted().prefix(limit - messages.count)
                let nodes = try await queue.reader.readUsable(names.map { "\(slot)/\($0.string)" })
                messages += zip(names, nodes).compactMap { name, node in node.map { Self.message(name, $0) } }
                return messages.count < limit
            }
            return messages
        }
    }

    private static func message(_ name: DelayedName, _ node: Node) -> DelayedMessage {
        let data = node.data ?? []
        var envelope = Envelope(headers: [:], payload: data)
        if case .message(let read) = Envelope.read(data) { envelope = read }
        return DelayedMessage(
            nodeName: name.string, dueAt: name.due, priority: name.item.priority,
            deliveryCount: name.item.redeliveries + 1, payload: envelope.payload, headers: envelope.headers,
            id: envelope.id, group: envelope.sentGroup, failures: envelope.failures, expiresAt: envelope.expiresAt)
    }

    /// Returns the number of delayed messages, how many of them were delivered before, and when the first one is due.
    func count() async throws -> (messages: Int, retrying: Int, nextDue: EnsembleTime?) {
        var nextDue: EnsembleTime?
        try await forEachSlot { _, names in
            nextDue = names.compactMap { DelayedName($0)?.due }.min()
            return nextDue == nil
        }
        // Without a delayed message there is nothing to count.
        if nextDue == nil { return (0, 0, nil) }
        var (messages, retrying) = (0, 0)
        for day in try await days() {
            let names = try await queue.folders.delayedNodes(ofDay: day)
            messages += names.count
            retrying += names.count { (DelayedName($0)?.item.redeliveries ?? 0) > 0 }
        }
        return (messages, retrying, nextDue)
    }

    /// Lists one slot after the other, in the order of their times, until `body` returns `false`.
    private func forEachSlot(_ body: (_ slot: String, _ names: [String]) async throws -> Bool) async throws {
        for day in try await days() {
            for slot in try await slots(ofDay: day).map(tree.delaySlot) {
                guard try await body(slot, try await queue.reader.usableNames(ofFolder: slot)) else { return }
            }
        }
    }

    private func days() async throws -> [Int64] {
        DelaySlot.days(try await queue.reader.usableNames(ofFolder: tree.delayed))
    }

    private func slots(ofDay day: Int64) async throws -> [DelaySlot] {
        DelaySlot.slots(try await queue.reader.usableNames(ofFolder: tree.delayedDay(day)), ofDay: day)
    }

    // MARK: A single message

    func cancel(_ name: String) async throws {
        let path = try path(of: name)
        try await QueueError.translating(while: "cancelling a delayed message", queue: queue.path) {
            // Throws for a tree of a later format, which must be left alone.
            _ = try await queue.reader.currentEpoch()
            guard try await store.exists(path) != nil else { throw notFound }
            try await delete(path)
        }
    }

    private func delete(_ path: String) async throws {
        let isAtomic = try await store.capabilities.contains(.transactions)
        do {
            if !isAtomic { return try await store.delete(path, version: nil) }
            try await queue.transaction { $0.add(.delete(path)) }
        } catch let error as ZooKeeperError where error.code == .noNode {
            throw notFound
        } catch let error as QueueError where error.code == .operationRefused {
            if error.cause?.code == .noNode { throw notFound }
            throw error.cause ?? error
        }
    }

    func deliverNow(_ name: String) async throws {
        let path = try path(of: name)
        try await QueueError.translating(while: "delivering a delayed message", queue: queue.path) {
            try await queue.prepareExisting()
            guard try await DueMessages.move(path, of: queue) else { throw notFound }
        }
    }

    private func path(of name: String) throws -> String {
        guard let delayed = DelayedName(name), !name.contains("/") else {
            throw QueueError(
                .invalidArgument,
                "This is not the name of a delayed message. List the delayed messages to see their names.")
        }
        return "\(tree.delaySlot(DelaySlot(delayed.due)))/\(name)"
    }

    private var notFound: QueueError {
        QueueError(
            .notFound,
            "There is no delayed message with this name in \(queue.path). It may have become ready. List the delayed "
                + "messages to see their names.")
    }
}
