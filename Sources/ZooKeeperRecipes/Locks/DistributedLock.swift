public import ZooKeeper

/// A lock that one process holds at a time. Waiting processes get it in order.
///
/// ```swift
/// let lock = DistributedLock(zookeeper, path: "/locks/report")
/// try await lock.withLock(timeout: .seconds(30)) { holder in
///     try await writeReport(token: holder.fencingToken)
/// }
/// ```
///
/// The lock ends with the client's session. No lock can stop a process that did not notice, for example because it was
/// suspended. So pass ``LockHolder/fencingToken`` to the store that you protect.
///
/// It is not reentrant: a closure that asks for the same lock waits for itself.
public struct DistributedLock: Sendable {
    private let line: LockLine

    /// Creates a lock. Makes no request. All processes must use the same path, and nothing else may use it.
    public init(_ store: any ZooKeeperStore, path: String) { line = LockLine(store: store, path: path) }

    /// Waits for the lock, runs `body` while it is held, and releases it.
    ///
    /// The task of `body` is cancelled when the lock is lost, and when the surrounding task is cancelled.
    ///
    /// - Parameters:
    ///   - timeout: how long to wait for the lock. Zero only takes a free lock. Without a responding server, it can
    ///     take ten seconds more. Default: no limit.
    ///   - body: runs while the lock is held.
    /// - Returns: the result of `body`.
    /// - Throws: the errors of `body`; ``RecipeError/Code/timedOut``; ``RecipeError/Code/lost`` if the lock was, or may
    ///   have been, lost before `body` ended, whatever its result; ``RecipeError/Code/notReleased``;
    ///   `CancellationError` when the task is cancelled while it waits; `ZooKeeperError`.
    public func withLock<Result: Sendable>(
        timeout: Duration? = nil, _ body: @escaping @Sendable (LockHolder) async throws -> Result
    ) async throws -> Result {
        try await line.hold(.write, within: timeout, body)
    }
}
