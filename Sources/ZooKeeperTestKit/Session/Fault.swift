import ZooKeeper

/// What goes wrong with one call.
///
/// The first five leave the caller without an answer, so that the call may or may not have been applied.
public enum Fault: Sendable, Hashable, CaseIterable {
    /// The connection is lost before the request arrives: it is not applied.
    case requestLost
    /// The request is applied, and the connection is lost before the answer arrives.
    case replyLost
    /// The connection is lost at once, and the request is applied a little later, before the session is connected again.
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

    /// Faults that a write can meet.
    public static let ofWrites = allCases.filter { $0 != .staleRead }
}

/// One call, for a plan of faults.
public struct CallSite: Sendable, Hashable {
    /// The name of the session.
    public let session: String
    /// The call's number among those of the session, from 1; a read that is repeated keeps its number.
    public let number: Int
    /// `create`, `delete`, `exists`, `get`, `children`, `set`, `sync` or `multi`.
    public let request: String
    /// What the call is about; for a multi, its first operation.
    public let path: String
    /// Whether the call changes nothing.
    public let isRead: Bool
}

/// Says what goes wrong with a call, if anything. It is asked once for each call.
public typealias FaultPlan = @Sendable (CallSite) -> Fault?
