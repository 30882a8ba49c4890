public import ZooKeeper

/// A gate that one process closes and opens while others wait at it.
///
/// ```swift
/// let maintenance = Barrier(zookeeper, path: "/barriers/maintenance")
/// try await maintenance.close()
/// try await maintenance.waitUntilOpen(timeout: .seconds(60))  // in other processes
/// try await maintenance.open()
/// ```
public struct Barrier: Sendable {
    private let store: any ZooKeeperStore
    private let path: String

    /// Creates a barrier. Makes no request. Nothing else may use the path.
    public init(_ store: any ZooKeeperStore, path: String) { (self.store, self.path) = (store, path) }

    /// Closes the barrier. It stays closed until a process opens it, even if this process ends.
    ///
    /// - Throws: `ZooKeeperError`.
    public func close() async throws {
        do {
            // Creates at once, because a server that lags behind could show a barrier that was opened since.
            try await store.createIfMissing(path)
        } catch let error as ZooKeeperError where error.code == .noNode {
            if let parent = NodePath.parent(of: path) { try await store.ensurePath(parent) }
            try await store.createIfMissing(path)
        }
    }

    /// Opens the barrier. Does nothing when it is open.
    ///
    /// - Throws: `ZooKeeperError`; `CancellationError`.
    public func open() async throws {
        try await store.persistently(until: nil) {
            do {
                try await store.delete(path, version: nil)
            } catch let error as ZooKeeperError where error.code == .noNode {}
        }
    }

    /// Waits until the barrier is open.
    ///
    /// - Parameter timeout: how long to wait. Default: no limit.
    /// - Throws: ``RecipeError/Code/timedOut``; `CancellationError`; `ZooKeeperError`.
    public func waitUntilOpen(timeout: Duration? = nil) async throws {
        let end = timeout.map { store.now + $0 }
        try await store.persistently(until: end) {
            try await store.withLimit(until: end) {
                // A server that lags behind would not show yet that the barrier was closed.
                try await store.sync(path)
                try await store.untilDeleted(path)
            }
        }
    }
}
