public import ZooKeeper

/// A lock that either one writer holds, or any number of readers. A reader that comes
/// after a waiting writer waits too.
///
/// ```swift
/// let lock = ReadWriteLock(zookeeper, path: "/locks/catalogue")
/// try await lock.withReadLock { _ in try await readCatalogue() }
/// try await lock.withWriteLock { holder in try await writeCatalogue(token: holder.fencingToken) }
/// ```
///
/// What ``DistributedLock`` says of sessions and fencing tokens holds here too. A reader cannot become a writer while
/// it holds the lock.
public struct ReadWriteLock: Sendable {
    private let line: LockLine

    /// Creates a lock. Makes no request. All processes must use the same path, and nothing else may use it.
    public init(_ store: any ZooKeeperStore, path: String) { line = LockLine(store: store, path: path) }

    /// Waits until no writer is before it, and runs `body` while the lock is held for reading.
    ///
    /// - Parameters:
    ///   - timeout: how long to wait for the lock. Default: no limit.
    ///   - body: runs while the lock is held.
    /// - Throws: the same errors as ``DistributedLock/withLock(timeout:_:)``.
    public func withReadLock<Result: Sendable>(
        timeout: Duration? = nil, _ body: @escaping @Sendable (LockHolder) async throws -> Result
    ) async throws -> Result {
        try await line.hold(.read, within: timeout, body)
    }

    /// Waits until no other process is before it, and runs `body` while the lock is held for writing.
    ///
    /// - Parameters:
    ///   - timeout: how long to wait for the lock. Default: no limit.
    ///   - body: runs while the lock is held.
    /// - Throws: the same errors as ``DistributedLock/withLock(timeout:_:)``.
    public func withWriteLock<Result: Sendable>(
        timeout: Duration? = nil, _ body: @escaping @Sendable (LockHolder) async throws -> Result
    ) async throws -> Result {
        try await line.hold(.write, within: timeout, body)
    }
}
