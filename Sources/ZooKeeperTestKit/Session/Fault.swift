import ZooKeeper

/// What goes wrong with one call.
///
/// All but the last two leave the caller of a write without an answer, so that it may or may not have been applied.
/// Reads are repeated where a `ZooKeeperClient` repeats them.
public enum Fault: Sendable, Hashable, CaseIterable {
    /// The connection is lost before the request arrives: it is not applied.
    case requestLost
    /// The request is applied, and the connection is lost before the answer arrives.
    case replyLost
    /// The connection is lost at once, and the request is still on its way between the servers: it is applied some time after
    /// the session is connected again, and before its next write or `sync`. A read in between does not see it.
    case appliedLate
    /// The request is applied, and its answer comes after the call's deadline.
    case replyTooLate
    /// The request arrives and is applied after the call's deadline; later requests of the session wait behind it.
    case requestTooLate
    /// The session expires before the request is applied.
    case expiredBefore
    /// The session expires after the request was applied, before the answer arrives.
    case expiredAfter
    /// The server refuses the request since the session has moved to another server, and the client connects anew.
    case moved
    /// A read is answered from the oldest state that ZooKeeper's promises allow: the last that this session has seen.
    /// It does not concern writes.
    case staleRead
}
