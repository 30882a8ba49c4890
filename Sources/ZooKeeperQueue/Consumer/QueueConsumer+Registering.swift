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
        let created = try await queue.store.create(
            queue.tree.consumers + "/consumer-", data: [], mode: .persistentSequential)
        let name = NodePath.name(of: created.path)
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
}
