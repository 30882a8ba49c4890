import DequeModule
import Logging
import Synchronization
import ZooKeeper

extension QueueConsumer {
    /// Registers the consumer.
    ///
    /// The parent of the leases comes before the ephemeral node: a recovery that looks in between sees a consumer that
    /// holds nothing, and may remove it; then it starts over with a new number. After a lost answer it goes on with the
    /// number that it has: what is there already is its own, since nobody else knows the number. A second one would
    /// count as a second consumer as long as the session lives.
    func makeRegistration() async throws -> Registration {
        while true {
            do {
                let name = try await ownName()
                let paths = queue.tree.consumer(name)
                try await create(paths.item)
                guard let sessionID = try await activate(paths) else { continue }
                halfMade = nil
                return Registration(paths: paths, sessionID: sessionID, name: name)
            } catch let error as ZooKeeperError where error.code == .noNode && halfMade != nil {
                halfMade = nil
            } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                // The same step again.
            }
        }
    }

    private func ownName() async throws -> String {
        if let halfMade { return halfMade }
        // After a lost answer there may be one that nobody uses; without an ephemeral node, a recovery removes it.
        let prefix = queue.tree.consumers + "/consumer-"
        let name: String
        do {
            if try await queue.hasRestoredConsumers() { return try await randomName() }
            let created = try await queue.store.create(prefix, data: [], mode: .persistentSequential)
            name = NodePath.name(of: created.path)
        } catch let error as ZooKeeperError where error.code == .nodeExists {
            // The server has no number left, after two thousand million consumers: any that is free will do.
            return try await randomName()
        }
        halfMade = name
        return name
    }

    private func randomName() async throws -> String {
        let name = "consumer-" + String(String(Int.random(in: 20_000_000_000..<30_000_000_000)).dropFirst())
        _ = try await queue.store.create(queue.tree.consumer(name).path, data: [], mode: .persistent)
        halfMade = name
        return name
    }

    private func create(_ path: String) async throws {
        do {
            _ = try await queue.store.create(path, data: [], mode: .persistent)
        } catch let error as ZooKeeperError where error.code == .nodeExists {
            // Its answer was lost before.
        }
    }

    /// - Returns: the session that owns the ephemeral node; `nil` when that session has ended meanwhile.
    private func activate(_ paths: ConsumerPaths) async throws -> Int64? {
        do {
            return try await queue.store.create(paths.active, data: [], mode: .ephemeral).stat.ephemeralOwner
        } catch let error as ZooKeeperError where error.code == .nodeExists {
            return try await queue.store.exists(paths.active)?.ephemeralOwner
        }
    }

    // MARK: The session

    /// Registers the consumer, unless it is, and watches over the session that its leases depend on.
    func register() async throws -> Registration {
        if let registration { return registration }
        if !isPrepared {
            try await queue.prepare()
            isPrepared = true
        }
        // Before anything is written: a tree of a later format is left alone.
        if mustReadEpoch { try await readEpoch() }
        // Never abandoned halfway: what it made would look alive as long as the session.
        let made = try await Task { try await makeRegistration() }.value
        registration = made
        holdings = Holdings()
        mustReadHoldings = false
        let states = queue.store.sessionStates
        sessionWatch?.cancel()
        sessionWatch = Task { [weak self] in
            for await _ in states { await self?.sessionChanged() }
        }
        queue.logger.debug("Registered a consumer", metadata: ["consumer": "\(made.paths.path)"])
        return made
    }

    func sessionChanged() {
        guard let registration else { return }
        let state = queue.store.sessionState
        if state.sessionID != registration.sessionID || state.phase == .closed { return lose(registration) }
        switch state.phase {
        case .inDoubt: for lease in leases.values { lease.update(.inDoubt) }
        case .connected:
            for lease in leases.values { lease.update(.held) }
            wakeTakers()
        case .connecting, .suspended, .closed: break
        }
    }

    /// The registration's session has ended: what it holds is, or will be, somebody else's.
    func lose(_ lost: Registration) {
        guard registration == lost else { return }
        registration = nil
        sessionWatch?.cancel()
        sessionWatch = nil
        // This consumer itself was seen under the name that is now a dead one's.
        seenActive = [:]
        let held = leases.values
        leases = [:]
        buffer = []
        forgetList()
        for lease in held { lease.update(.lost) }
        if !held.isEmpty {
            queue.logger.info("Leases are lost with their session", metadata: ["count": "\(held.count)"])
        }
        becameEmpty()
        wakeTakers()
        readSoon()
    }

    // MARK: The end of a registration

    func deregister() async {
        await committer?.value
        // Somebody may have come back meanwhile.
        let unfinished = halfMade.map { Registration(paths: queue.tree.consumer($0), sessionID: 0, name: $0) }
        guard let registration = registration ?? unfinished,
            phase != .open || (leases.isEmpty && iterators.load(ordering: .relaxed) == 0)
        else { return }
        await leave(registration)
    }

    /// Whether the consumer's node is near the end of its versions, which are 32 bits wide, and each step takes one. Then
    /// nothing is taken in advance, until nothing is held.
    var mustRenew: Bool { holdings.version >= configuration.stepsOfARegistration || holdings.version < 0 }

    /// Begins a new registration, when the old one has nothing to do.
    func renew() async {
        guard let registration, mustRenew, leases.isEmpty, settlements.isEmpty, !isCommitting else { return }
        forgetList()
        // This consumer itself was seen under the old name.
        seenActive = [:]
        await leave(registration)
    }

    /// Removes a registration from the tree in a task of its own, which `close()` waits for.
    private func leave(_ registration: Registration) async {
        let task = Task.immediate { await remove(registration) }
        leaving = task
        await task.value
        if leaving == task { leaving = nil }
    }

    private func remove(_ registration: Registration) async {
        self.registration = nil
        halfMade = nil
        holdings = Holdings()
        // Whoever came back meanwhile finds nothing that is read, so that the reader begins, which registers.
        forgetList()
        sessionWatch?.cancel()
        sessionWatch = nil
        await insistOnRemoving { [store = queue.store] in try await registration.remove(from: store) }
    }

    /// Removes a registration, or its ephemeral node, and tries again after errors that pass, until `close()` has no time left.
    ///
    /// A registration that stays counts as a consumer as long as the session lives, and no recovery gives back what it
    /// holds.
    func insistOnRemoving(_ remove: @Sendable () async throws -> Void) async {
        while phase != .closed {
            do {
                return try await remove()
            } catch let error as ZooKeeperError where error.isPassing {
                await error.pauseIfRefusedAtOnce(queue.store)
            } catch {
                queue.logger.debug("A consumer is left in the tree", metadata: ["error": "\(error)"])
                return
            }
        }
    }
}
