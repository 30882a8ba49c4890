import ZooKeeper

/// Deletes one message of a queue wherever it is, or changes its priority. Each change is one transaction, which is
/// refused if the message has moved since it was found.
struct MessageChange: Sendable {
    let queue: MessageQueue

    private static let attempts = 20

    private var tree: QueueTree { queue.tree }
    private var search: MessageSearch { MessageSearch(queue: queue) }

    /// - Returns: the message as it was before.
    func cancel(_ key: MessageSearch.Key) async throws -> MessageStatus {
        if case .waitingName = key {
            throw QueueError(
                .invalidArgument,
                "A message that waits in its group can only be cancelled by its ID, because the group uses the name again."
            )
        }
        return try await change(key, while: "cancelling a message") { found in
            try await deletion(of: found) + succession(of: found) + freeingID(of: found)
        }.status
    }

    /// - Returns: the new name; `nil` when the reply was lost.
    func move(_ key: MessageSearch.Key, toPriority priority: Int) async throws -> String? {
        guard ItemName.priorities.contains(priority) else {
            throw QueueError(.invalidArgument, "The priority must be from 0 to 999, not \(priority).")
        }
        let change = try await change(key, while: "changing the priority of a message") { found in
            try await queue.requireNumbers(for: 1)
            let prefix = ItemName.prefix(priority: priority)
            let data = Envelope.restored(found.message.data)
            switch found.location {
            case .ready:
                return try await deletion(of: found) + [
                    .create(tree.item(prefix), data: data, mode: .persistentSequential)
                ]
            case .delayed(let name):
                return try await deletion(of: found) + [
                    .create(tree.delayed(prefix, due: name.due), data: data, mode: .persistentSequential)
                ]
            case .leased, .recovering, .dead, .waiting: throw isNotWaiting
            }
        }
        guard case .created(let path)? = change.results?.last else { return nil }
        let name = NodePath.name(of: path)
        guard case .ready(_, let epoch) = change.found.location else { return name }
        return ItemName(name, inEpoch: epoch.number)?.string
    }

    /// The message has moved since it was found.
    private struct Moved: Error {}

    private func change(
        _ key: MessageSearch.Key, while description: String,
        _ operations: (MessageSearch.Found) async throws -> [ZooKeeperOperation]
    ) async throws -> (status: MessageStatus, found: MessageSearch.Found, results: ArraySlice<OperationResult>?) {
        try await QueueError.translating(while: description, queue: queue.path) {
            try await queue.prepareExisting()
            // Throws for a format that this release does not know.
            _ = try await queue.reader.sequenceEpoch()
            guard try await queue.store.capabilities.contains(.transactions) else {
                throw QueueError.storeHasNoTransactions
            }
            for _ in 0..<Self.attempts {
                guard let found = try await search.find(key) else { throw notFound }
                let status = try await search.status(of: found)
                do {
                    let transaction = QueueTransaction(try await operations(found))
                    try Task.checkCancellation()
                    return (status, found, try await queue.applyOnce(transaction, within: .seconds(30)).results)
                } catch is Moved {
                    continue
                } catch let error as QueueError where error.code == .operationRefused {
                    // The message has moved, or its ID has expired.
                    guard let cause = error.cause, Self.signsOfAMove.contains(cause.code) else {
                        throw error.cause ?? error
                    }
                }
            }
            throw QueueError(
                .timedOut,
                "Nothing was changed, because the message moved, or its consumer sent a transaction, at each attempt. Try "
                    + "again.")
        }
    }

    private static let signsOfAMove: [ZooKeeperError.Code] = [.noNode, .badVersion, .nodeExists, .notEmpty]

    // MARK: Operations

    /// Returns the operations that delete a message. The other messages of its node get nodes of their own.
    private func deletion(of found: MessageSearch.Found) async throws -> [ZooKeeperOperation] {
        let delete = ZooKeeperOperation.delete(found.path, version: found.node.stat.version)
        switch found.location {
        case .ready(_, let epoch):
            return [epoch.check(in: tree), delete]
                + found.others.map { .create(epoch.path(of: $0.name, in: tree), data: Envelope.restored($0.data)) }
        case .delayed:
            // The version is read before the node, because a slot that is created again gives out the same names again.
            guard let version = try await queue.reader.usableStat(tree.delayed)?.version,
                try await queue.reader.usableStat(found.path)?.czxid == found.node.stat.czxid
            else { throw Moved() }
            return [.check(tree.delayed, version: version), delete]
        case .leased(let paths, let name):
            try await LeaseRelease(queue: queue).requireNotice(by: paths)
            // The lease of a single message says alone whether the message is settled.
            guard let index = found.message.index else { return [delete] }
            // The consumer may have settled messages during the search.
            guard let node = try await queue.reader.usableNode(paths.path) else { throw Moved() }
            let progress = BatchSettlements(node.data)
            if progress.isSettled(index, of: name) { throw Moved() }
            let others = found.others.filter { message in
                message.index.map { !progress.isSettled($0, of: name) } ?? true
            }
            return [.check(paths.path, version: node.stat.version), delete]
                + others.map { .create(tree.partial($0.name.string), data: $0.data) }
        case .recovering, .waiting: return [delete]
        case .dead:
            let cause = found.path + "/cause"
            // A foreign client may have left a dead letter without a cause.
            return try await queue.store.exists(cause) == nil ? [delete] : [.delete(cause), delete]
        }
    }

    /// Returns the operations that let the message's group go on without it.
    private func succession(of found: MessageSearch.Found) async throws -> [ZooKeeperOperation] {
        guard let group = found.message.envelope.group.flatMap({ GroupKey($0) }) else { return [] }
        if case .waiting = found.location { return [] }
        // A dead letter has left its group, unless it blocks the group.
        let deadLetter: String? = if case .dead = found.location { NodePath.name(of: found.path) } else { nil }
        guard let succession = try await queue.groups.succession(of: group, deadLetter: deadLetter) else { return [] }
        return [try await queue.reader.sequenceEpoch().check(in: tree)] + succession.operations
    }

    /// Returns the operations that make the queue forget the message's ID. A later message can have the same ID, when
    /// this one has waited for longer than the deduplication window: then the ID is that message's.
    private func freeingID(of found: MessageSearch.Found) async throws -> [ZooKeeperOperation] {
        guard let id = found.message.envelope.id, let node = try await queue.reader.node(tree.ids) else { return [] }
        let buckets = try DeduplicationBuckets(node)
        var operations = [buckets.check(in: tree)]
        for bucket in buckets.numbers {
            let path = tree.id(DeduplicationBuckets.nodeName(of: id), inBucket: bucket)
            if let stat = try await queue.store.exists(path), stat.czxid <= found.node.stat.czxid {
                operations.append(.delete(path))
            }
        }
        return operations
    }

    // MARK: Errors

    private var notFound: QueueError {
        QueueError(
            .notFound,
            "There is no such message in \(queue.path). It may be acknowledged, or a delayed message may have become "
                + "ready under another name.")
    }

    private var isNotWaiting: QueueError {
        QueueError(
            .notFound, "Only a ready or a delayed message can get another priority. The message is neither.")
    }
}
