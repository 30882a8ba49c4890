import Logging
import ZooKeeper

/// Registers the consumer in the tree, and removes it.
extension QueueConsumer {
    /// Registers the consumer, unless it is registered already, and watches the session that its leases depend on.
    func register() async throws -> Registration {
        if let registration = state.registration { return registration }
        if !state.isPrepared {
            try await queue.prepare()
            let isAtomic = try await queue.store.capabilities.contains(.transactions)
            handle { $0.foldersExist(inAtomicStore: isAtomic) }
        }
        // This must precede every write, because a tree of a later format must be left alone.
        if state.needsEpoch { try await readEpoch() }
        // Never abandoned halfway: its nodes would look like a live consumer until the session ends.
        let registration = try await Task { try await makeRegistration() }.value
        handle { $0.registered(registration) }
        startWatching()
        return registration
    }

    /// Creates the consumer's nodes.
    ///
    /// The parent of the leases is created before the ephemeral node. A recovery that comes in between sees a consumer
    /// that holds nothing, and may remove it. The consumer then starts again with a new number. After a lost reply it
    /// continues with the number that it has. Existing nodes of that number are its own, because no other client knows
    /// the number. A second ephemeral node would count as a second consumer until the session ends.
    private func makeRegistration() async throws -> Registration {
        while true {
            do {
                let name = try await ownName()
                let paths = queue.tree.consumer(name)
                try await create(paths.item)
                guard let sessionID = try await activate(paths) else { continue }
                return Registration(paths: paths, sessionID: sessionID, name: name)
            } catch let error as ZooKeeperError where error.code == .noNode && state.pendingName != nil {
                handle { $0.registrationPending(nil) }
            } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                // Repeat the same operation.
            }
        }
    }

    private func ownName() async throws -> String {
        if let name = state.pendingName { return name }
        let name = try await createOwnNode()
        // A lost reply may leave a node that no consumer uses. A recovery removes it,
        // because it has no ephemeral node.
        handle { $0.registrationPending(name) }
        return name
    }

    private func createOwnNode() async throws -> String {
        if try await !queue.folders.hasRestoredConsumers() {
            do {
                let created = try await queue.store.create(
                    queue.tree.consumers + "/consumer-", data: [], mode: .persistentSequential)
                return NodePath.name(of: created.path)
            } catch let error as ZooKeeperError where error.code == .nodeExists {
                // The sequence numbers are exhausted, after two billion consumers. Any free number will do.
            }
        }
        while true {
            let name = "consumer-" + RandomName.tenDigits()
            do {
                _ = try await queue.store.create(queue.tree.consumer(name).path, data: [], mode: .persistent)
                return name
            } catch let error as ZooKeeperError where error.code == .nodeExists {
                // Another consumer has the same random name.
            }
        }
    }

    private func create(_ path: String) async throws {
        do {
            _ = try await queue.store.create(path, data: [], mode: .persistent)
        } catch let error as ZooKeeperError where error.code == .nodeExists {
            // The node exists from an earlier attempt whose reply was lost.
        }
    }

    /// Creates the ephemeral node.
    ///
    /// - Returns: the session that owns the node; `nil` when that session has ended in the meantime.
    private func activate(_ paths: ConsumerPaths) async throws -> Int64? {
        do {
            return try await queue.store.create(paths.active, data: ConsumerPaths.renewing, mode: .ephemeral).stat
                .ephemeralOwner
        } catch let error as ZooKeeperError where error.code == .nodeExists {
            return try await queue.store.exists(paths.active)?.ephemeralOwner
        }
    }

    // MARK: Leaving

    func remove(_ registration: Registration) async {
        handle { $0.leaves() }
        // The consumer has usually left the wait queue before. A lost reply may have hidden a position from it.
        let waitQueue = WaitQueue(queue: queue, consumer: registration.name)
        await removeWithRetry { try await waitQueue.leaveEvery() }
        await removeWithRetry { [store = queue.store] in try await registration.remove(from: store) }
    }

    /// Gives up a registration. A recovery requeues its messages, and the consumer registers again.
    func leaveToRecovery(_ registration: Registration) async {
        handle { $0.lose(registration) }
        await removeWithRetry { [store = queue.store] in
            // In a restored folder, another consumer may have been given the same name.
            guard try await store.exists(registration.paths.active)?.ephemeralOwner == registration.sessionID else {
                return
            }
            try await store.delete(registration.paths.active, version: nil)
        }
    }

    /// Removes a registration, its ephemeral node, or a position in the wait queue. Repeats the removal after retryable
    /// errors, until `close()` has no time left.
    ///
    /// A registration that stays counts as a live consumer until the session ends, and no
    /// recovery requeues its messages.
    func removeWithRetry(_ remove: @Sendable () async throws -> Void) async {
        while state.phase != .closed {
            do {
                return try await remove()
            } catch let error as ZooKeeperError where error.isRetryable {
                await error.pauseIfRefusedAtOnce(queue.store)
            } catch {
                queue.logger.debug("Could not remove a consumer's node", metadata: ["error": "\(error)"])
                return
            }
        }
    }
}
