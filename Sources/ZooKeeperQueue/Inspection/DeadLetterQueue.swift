import ZooKeeper

/// Lists, redrives and purges the dead letters of a queue.
struct DeadLetterQueue: Sendable {
    let queue: MessageQueue

    private var store: any ZooKeeperStore { queue.store }
    private var tree: QueueTree { queue.tree }
    private var reader: NodeReader { queue.reader }

    // MARK: All dead letters

    func list(limit: Int) async throws -> [DeadLetter] {
        try await QueueError.translating(while: "listing dead letters", queue: queue.path) {
            var letters: [DeadLetter] = []
            for name in try await sortedNames() {
                if letters.count >= limit { break }
                guard let node = try await reader.usableNode(tree.dead(name)) else { continue }
                let data = node.data ?? []
                let cause = try await reader.read([tree.cause(ofDead: name)])[0].node?.data ?? []
                var envelope = Envelope(headers: [:], payload: data)
                if case .message(let read) = Envelope.read(data) { envelope = read }
                letters.append(
                    DeadLetter(
                        nodeName: name, payload: envelope.payload, headers: envelope.headers,
                        id: envelope.id, group: envelope.sentGroup, reason: String(decoding: cause, as: UTF8.self),
                        failures: envelope.failures, expiresAt: envelope.expiresAt,
                        deadLetteredAt: EnsembleTime(millisecondsSince1970: node.stat.ctime)))
            }
            return letters
        }
    }

    /// Redrives every dead letter, and skips those that cannot be moved.
    ///
    /// - Returns: how many were redriven.
    func redriveAll(progress: (_ done: Int, _ total: Int) -> Void) async throws -> Int {
        let names = try await QueueError.translating(while: "listing dead letters", queue: queue.path) {
            try await sortedNames()
        }
        var done = 0
        for (index, name) in names.enumerated() {
            try Task.checkCancellation()
            if try await redriveOrSkip(name) { done += 1 }
            progress(index + 1, names.count)
        }
        return done
    }

    /// Deletes every dead letter.
    ///
    /// - Returns: how many were deleted.
    func purge(progress: (_ done: Int, _ total: Int) -> Void) async throws -> Int {
        try await QueueError.translating(while: "purging dead letters", queue: queue.path) {
            // Throws for a tree of a later format, which must be left alone.
            _ = try await reader.currentEpoch()
            let names = try await sortedNames()
            let blocking = try await queue.groups.blockingDeadLetters(among: names)
            var deletions: [[ZooKeeperOperation]] = []
            for name in names where blocking[name] == nil { deletions.append(try await deletion(of: name)) }
            var done = try await queue.writer.apply(deletions, progress: progress).done
            for (name, key) in blocking where try await delete(name, blocking: key) { done += 1 }
            return done
        }
    }

    private func deletion(of name: String) async throws -> [ZooKeeperOperation] {
        // A foreign client may have left a dead letter without a cause.
        let cause = try await hasCause(name) ? [ZooKeeperOperation.delete(tree.cause(ofDead: name))] : []
        return cause + [.delete(tree.dead(name))]
    }

    /// Deletes a dead letter that blocks its group, which goes on then. Skips it when that is refused.
    ///
    /// - Returns: `false` when it was gone already, or was skipped.
    private func delete(_ name: String, blocking key: GroupKey) async throws -> Bool {
        var (wasSent, retries) = (false, GroupSuccession.Retries())
        while true {
            guard let succession = try await queue.groups.succession(of: key, deadLetter: name) else { return wasSent }
            let epoch = try await reader.sequenceEpoch()
            // Another client may have deleted the dead letter, and left its group blocked.
            let deletion = try await store.exists(tree.dead(name)) == nil ? [] : try await deletion(of: name)
            do {
                _ = try await store.multi([epoch.check(in: tree)] + deletion + succession.operations)
                return !deletion.isEmpty
            } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                // The next attempt resolves this: a group that is not blocked any more goes on.
                wasSent = true
            } catch let error as ZooKeeperError where error.code == .notEmpty && error.operationIndex == deletion.count
            {
                queue.skipped.skip(tree.dead(name), error)
                return false
            } catch let error as ZooKeeperError where GroupSuccession.Outdated.codes.contains(error.code) {
                succession.note(error, in: queue)
                retries = try await retries.next(in: store)
            }
        }
    }

    private func hasCause(_ name: String) async throws -> Bool {
        do {
            return try await reader.names(tree.dead(name)).contains("cause")
        } catch let error as ZooKeeperError where error.code == .noAuth {
            // The permission to delete a node comes from its parent.
            return true
        }
    }

    /// Returns the names in message order, with names that are not those of messages last.
    private func sortedNames() async throws -> [String] {
        let names = try await reader.names(tree.dead)
        queue.skipped.keep(names, in: tree.dead)
        return names.sorted { a, b in
            switch (ItemName(a), ItemName(b)) {
            case (let a?, let b?): a < b
            case (nil, _?): false
            case (_?, nil): true
            case (nil, nil): a < b
            }
        }
    }

    // MARK: A single dead letter

    func redrive(_ name: String) async throws {
        guard try await redriveIfPresent(name) else {
            throw QueueError(
                .notFound,
                "There is no dead letter with this name in \(queue.path). List the dead letters to see their names.")
        }
    }

    private func redriveOrSkip(_ name: String) async throws -> Bool {
        guard ItemName(name) != nil else {
            queue.skipped.skip(tree.dead(name), .unknownName)
            return false
        }
        do {
            let isDone = try await redriveIfPresent(name)
            queue.skipped.handled(tree.dead(name))
            return isDone
        } catch let error as QueueError {
            // A refusal to read the dead letter or to delete its cause concerns this letter alone. Any other refusal
            // concerns the whole folder.
            guard let cause = error.cause, cause.isRefusal, cause.concernsOneNode || (cause.operationIndex ?? 0) == 0
            else {
                throw error
            }
            queue.skipped.skip(tree.dead(name), cause)
            return false
        }
    }

    private func redriveIfPresent(_ name: String) async throws -> Bool {
        guard !name.contains("/"), !name.isEmpty else {
            throw QueueError(.invalidArgument, "The name of a dead letter cannot be empty or contain a slash.")
        }
        return try await QueueError.translating(while: "redriving a dead letter", queue: queue.path) {
            try await queue.prepareExisting()
            var target = ItemName(name)?.with(redeliveries: 0)
            var wasSent = false
            while true {
                guard let node = try await reader.node(tree.dead(name)) else { return wasSent }
                let epoch = try await reader.sequenceEpoch()
                guard let item = target else {
                    throw QueueError(
                        .invalidArgument,
                        "\(name) is not the name of a message, so it cannot be redriven. Send its payload as a new "
                            + "message.")
                }
                let (rejoining, path) = try await queue.groups.rejoining(name, node.data, as: item, in: epoch)
                let create = ZooKeeperOperation.create(
                    path, data: Envelope.redriven(node.data),
                    mode: path.hasSuffix("-") ? .persistentSequential : .persistent)
                do {
                    _ = try await store.multi(
                        [
                            .delete(tree.cause(ofDead: name)), .delete(tree.dead(name), version: node.stat.version),
                            epoch.check(in: tree),
                        ] + rejoining + [create])
                    return true
                } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                    // The next attempt resolves this: a dead letter that is gone was redriven.
                    wasSent = true
                } catch let error as ZooKeeperError where error.code == .noNode || error.code == .badVersion {
                    // Another client is moving it, so try again. A dead letter without a cause
                    // comes from a foreign client.
                    switch error.operationIndex {
                    case 0 where try await store.exists(tree.dead(name)) != nil: try await addCause(name)
                    case 3 + rejoining.count: if try await !queue.folders.restoreMissing() { throw error }
                    default: break
                    }
                } catch let error as ZooKeeperError
                    where error.code == .nodeExists && !rejoining.isEmpty && error.operationIndex == 3
                {
                    // The group has begun since its state was read.
                } catch let error as ZooKeeperError where error.code == .nodeExists {
                    target = item.with(redeliveries: item.redeliveries + 1)
                }
            }
        }
    }

    private func addCause(_ name: String) async throws {
        do {
            _ = try await store.create(tree.cause(ofDead: name), data: [], mode: .persistent)
        } catch let error as ZooKeeperError where error.code == .nodeExists || error.code == .noNode {
            // Another client was faster.
        }
    }
}
