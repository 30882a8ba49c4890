import ZooKeeper

extension MessageQueue {
    /// The messages that were given up, in their old order.
    ///
    /// - Throws: ``QueueError``.
    public func deadLetters(limit: Int = 100) async throws -> [DeadLetter] {
        try await QueueError.translating(while: "listing dead letters", queue: path) {
            var letters: [DeadLetter] = []
            for name in try await deadNames() {
                if letters.count >= limit { break }
                guard let node = try await usableNode(tree.dead(name)) else { continue }
                let data = node.data ?? []
                let cause = try await read([tree.cause(ofDead: name)])[0].node?.data ?? []
                var envelope = Envelope(headers: [:], payload: data)
                if case .message(let read) = Envelope.read(data) { envelope = read }
                letters.append(
                    DeadLetter(
                        name: name, payload: envelope.payload, headers: envelope.headers,
                        id: envelope.id, cause: String(decoding: cause, as: UTF8.self), time: node.stat.ctime))
            }
            return letters
        }
    }

    /// Sends a dead letter back to its old place in the queue; its deliveries are counted anew.
    ///
    /// - Throws: ``QueueError``; ``QueueError/Code/notFound`` when there is no such dead letter.
    public func redrive(_ name: String) async throws {
        guard try await redriveIfPresent(name) else {
            throw QueueError(.notFound, "There is no dead letter of that name in \(path).")
        }
    }

    /// Sends all dead letters back. One that cannot be moved is skipped and stays: see ``skippedNodes()``.
    ///
    /// - Returns: how many.
    @discardableResult
    public func redriveAll(progress: @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }) async throws -> Int {
        let names = try await QueueError.translating(while: "listing dead letters", queue: path) {
            try await deadNames()
        }
        var done = 0
        for (index, name) in names.enumerated() {
            try Task.checkCancellation()
            if try await redriveOrSkip(name) { done += 1 }
            progress(index + 1, names.count)
        }
        return done
    }

    /// Deletes all dead letters.
    ///
    /// - Returns: how many.
    @discardableResult
    public func purgeDeadLetters(progress: @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }) async throws
        -> Int
    {
        try await QueueError.translating(while: "purging dead letters", queue: path) {
            _ = try await currentEpoch()
            var groups: [[Operation]] = []
            for name in try await deadNames() {
                // A foreign client may have left one without a cause.
                let cause = try await hasCause(name) ? [Operation.delete(tree.cause(ofDead: name))] : []
                groups.append(cause + [.delete(tree.dead(name))])
            }
            return try await applyAll(groups, progress: progress).done
        }
    }

    private func hasCause(_ name: String) async throws -> Bool {
        do {
            return try await names(tree.dead(name)).contains("cause")
        } catch let error as ZooKeeperError where error.code == .noAuth {
            // The permission to delete it comes from its folder.
            return true
        }
    }

    private func deadNames() async throws -> [String] {
        let names = try await names(tree.dead)
        skipped.keep(names, in: tree.dead)
        return names.sorted { a, b in
            switch (ItemName(a), ItemName(b)) {
            case (let a?, let b?): a < b
            case (nil, _?): false
            case (_?, nil): true
            case (nil, nil): a < b
            }
        }
    }

    private func redriveOrSkip(_ name: String) async throws -> Bool {
        guard ItemName(name) != nil else {
            skipped.skip(tree.dead(name), .unknownName)
            return false
        }
        do {
            let isDone = try await redriveIfPresent(name)
            skipped.handled(tree.dead(name))
            return isDone
        } catch let error as QueueError {
            // Reading the letter and deleting its cause are the letter's own matter, all else its folder's.
            guard let cause = error.cause, cause.isRefusal, cause.concernsOneNode || (cause.operationIndex ?? 0) == 0
            else {
                throw error
            }
            skipped.skip(tree.dead(name), cause)
            return false
        }
    }

    private func redriveIfPresent(_ name: String) async throws -> Bool {
        guard !name.contains("/"), !name.isEmpty else {
            throw QueueError(.invalidArgument, "A dead letter's name is a node's name, without a slash.")
        }
        return try await QueueError.translating(while: "sending a dead letter back", queue: path) {
            try await prepareExisting()
            var target = ItemName(name)?.with(returns: 0)
            var wasSent = false
            while true {
                guard let node = try await node(tree.dead(name)) else { return wasSent }
                let epoch = try await sequenceEpoch()
                guard let item = target else {
                    throw QueueError(
                        .invalidArgument,
                        "\(name) is no item's name, so it has no place in the queue: send its payload anew.")
                }
                do {
                    _ = try await store.multi([
                        .delete(tree.cause(ofDead: name)), .delete(tree.dead(name), version: node.stat.version),
                        epoch.check(in: tree),
                        .create(epoch.place(of: item, in: tree), data: Envelope.restored(node.data)),
                    ])
                    return true
                } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                    // Looked at again: when it is gone, it was sent back.
                    wasSent = true
                } catch let error as ZooKeeperError where error.code == .noNode || error.code == .badVersion {
                    // Another client is moving it, so look again. A dead letter without a cause comes from another kind
                    // of client.
                    switch error.operationIndex {
                    case 0 where try await store.exists(tree.dead(name)) != nil: try await addCause(name)
                    case 3 where try await !restoreMissingFolders(): throw error
                    default: break
                    }
                } catch let error as ZooKeeperError where error.code == .nodeExists {
                    target = item.with(returns: item.returns + 1)
                }
            }
        }
    }

    private func addCause(_ name: String) async throws {
        do {
            _ = try await store.create(tree.cause(ofDead: name), data: [], mode: .persistent)
        } catch let error as ZooKeeperError where error.code == .nodeExists || error.code == .noNode {
            // Somebody was faster.
        }
    }
}
