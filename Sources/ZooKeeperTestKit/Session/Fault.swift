import ZooKeeper

/// A fault of one call.
///
/// Except for ``moved`` and ``staleRead``, the caller of a write receives no response, so the write may or may not have
/// been applied. Reads are repeated where a `ZooKeeperClient` repeats them.
public enum Fault: Sendable, Hashable, CaseIterable {
    /// The connection is lost before the request arrives. The request is not applied.
    case requestLost
    /// The request is applied, and the connection is lost before the response arrives.
    case replyLost
    /// The connection is lost immediately, while the request is still in transit between the servers. It is
    /// applied some time after the session has reconnected, and before the session's next write or `sync`. A
    /// read in between does not see it.
    case appliedLate
    /// The request is applied, and its response arrives after the call's deadline.
    case replyTooLate
    /// The request arrives and is applied after the call's deadline. Later requests of the session wait behind it.
    case requestTooLate
    /// The session expires before the request is applied.
    case expiredBefore
    /// The session expires after the request was applied and before the response arrives.
    case expiredAfter
    /// The server refuses the request because the session has moved to another server, and the client reconnects.
    case moved
    /// A read returns the oldest state that ZooKeeper's guarantees allow, which is the last one that this session has
    /// seen. Has no effect on writes.
    case staleRead
}
