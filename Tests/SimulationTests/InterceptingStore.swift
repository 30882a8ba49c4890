import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// A session whose multis and batch reads a test can intercept.
struct InterceptingStore: ZooKeeperStore {
    let session: InMemorySession
    /// Performs a multi.
    var performing: @Sendable (InMemorySession, [ZooKeeper.ZooKeeperOperation]) async throws -> [OperationResult] = {
        try await $0.multi($1)
    }
    /// Runs before several nodes are read at once.
    var beforeReading: @Sendable ([String]) async throws -> Void = { _ in }

    /// Whether the store says that it has transactions.
    var isAtomic = true

    /// The path that a watch on a path watches.
    var watchedPath: @Sendable (String) -> String = { $0 }

    /// Returns a store without the check of the queue's epoch: the flaw of a queue that identifies a message by its
    /// name. Watches report no change of the epoch either, because their events may come late.
    static func withoutEpochCheck(_ session: InMemorySession) -> InterceptingStore {
        var store = InterceptingStore(session: session) { session, operations in
            try await session.multi(
                operations.map { operation in
                    guard case .check("/queue/epoch", _) = operation else { return operation }
                    return .check("/queue/epoch", version: nil)
                })
        }
        store.watchedPath = { $0 == "/queue/epoch" ? "/queue/missing" : $0 }
        return store
    }

    /// Returns a store that raises the version of a live consumer's node when it takes the consumer's leases, instead
    /// of checking that version.
    static func touchingConsumers(_ session: InMemorySession) -> InterceptingStore {
        InterceptingStore(session: session) { session, operations in
            guard case .check(let path, let version)? = operations.first, path.hasPrefix("/queue/consumers/") else {
                return try await session.multi(operations)
            }
            return try await session.multi([.set(path, data: [], version: version)] + operations.dropFirst())
        }
    }

    /// Returns a store that moves a delayed message in two steps: it deletes the message, and then creates it again.
    static func movingInTwoSteps(_ session: InMemorySession) -> InterceptingStore {
        InterceptingStore(session: session) { session, operations in
            let deletions = operations.filter { operation in
                guard case .delete(let path, _) = operation else { return false }
                return path.hasPrefix("/queue/delayed/")
            }
            if deletions.isEmpty { return try await session.multi(operations) }
            _ = try await session.multi(deletions)
            return try await session.multi(
                operations.filter { operation in !deletions.contains { $0.path == operation.path } })
        }
    }

    /// Returns a store that lets a group go on when it takes the lease of the group's message from a failed consumer,
    /// although that message will be redelivered: the flaw of a queue that returns messages after their successors were
    /// handed out.
    static func lettingGroupsGoOn(_ session: InMemorySession) -> InterceptingStore {
        InterceptingStore(session: session) { session, operations in
            let takesLease = operations.contains { operation in
                guard case .create(let path, _, _, _) = operation else { return false }
                return path.hasPrefix("/queue/partial/")
            }
            guard takesLease, let next = try? await session.children(of: "/queue/groups/group").names.min() else {
                return try await session.multi(operations)
            }
            let path = "/queue/groups/group/\(next)"
            return try await session.multi(
                operations + [
                    .delete(path),
                    .create(
                        "/queue/items/item-100-", data: try await session.get(path).data, mode: .persistentSequential),
                ])
        }
    }

    /// Returns a store whose transactions do not change the node that tells whether they were applied.
    static func withoutMark(_ session: InMemorySession) -> InterceptingStore {
        InterceptingStore(session: session) { session, operations in
            guard case .set(let path, _, _)? = operations.first, path.hasPrefix("/queue/producers/") else {
                return try await session.multi(operations)
            }
            return try await session.multi([.check(path)] + operations.dropFirst())
        }
    }

    /// Returns the store of a process that takes its own clock for the ensemble's. Its clock differs by `offset`.
    static func withOwnClock(_ session: InMemorySession, offset: Duration) -> InterceptingStore {
        InterceptingStore(session: session) { session, operations in
            try await session.multi(operations).map { result in
                guard case .set(var stat) = result else { return result }
                stat.mtime += Int64(offset / .milliseconds(1))
                return .set(stat)
            }
        }
    }

    /// Returns a store without the check of the previous bucket of ids. The check is a node that a multi creates and
    /// deletes there, so the store leaves both operations out.
    static func withoutPreviousIDs(_ session: InMemorySession) -> InterceptingStore {
        InterceptingStore(session: session) { session, operations in
            let previous = Set(
                operations.compactMap { operation -> String? in
                    guard case .delete(let path, _) = operation, path.hasPrefix("/queue/ids/") else { return nil }
                    return path
                })
            return try await session.multi(operations.filter { !previous.contains($0.path) })
        }
    }

    func multi(_ operations: [ZooKeeper.ZooKeeperOperation]) async throws -> [OperationResult] {
        try await performing(session, operations)
    }
    func get(_ paths: [String]) async throws -> [Node?] {
        try await beforeReading(paths)
        return try await session.get(paths)
    }

    var capabilities: ZooKeeperCapabilities {
        isAtomic ? session.capabilities : session.capabilities.subtracting(.transactions)
    }
    var maximumRequestSize: Int { session.maximumRequestSize }
    func size(of operation: ZooKeeper.ZooKeeperOperation) -> Int { session.size(of: operation) }
    var sessionState: SessionState { session.sessionState }
    var sessionStates: SessionStates { session.sessionStates }
    var now: Duration { session.now }
    func sleep(for duration: Duration) async throws { try await session.sleep(for: duration) }
    func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode {
        try await session.create(path, data: data, mode: mode)
    }
    func delete(_ path: String, version: Int32?) async throws { try await session.delete(path, version: version) }
    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
        try await session.set(path, data: data, version: version)
    }
    func get(_ path: String) async throws -> Node { try await session.get(path) }
    func exists(_ path: String) async throws -> Stat? { try await session.exists(path) }
    func children(of path: String) async throws -> NodeChildren { try await session.children(of: path) }
    func trackUsage(of path: String) async throws { try await session.trackUsage(of: path) }
    func byteUsage(of path: String) async throws -> Int? { try await session.byteUsage(of: path) }
    func sync(_ path: String) async throws { try await session.sync(path) }
    func dataUpdates(of path: String) -> WatchSequence<Node?> { session.dataUpdates(of: watchedPath(path)) }
    func childrenUpdates(of path: String) -> WatchSequence<NodeChildren?> {
        session.childrenUpdates(of: path)
    }
}
