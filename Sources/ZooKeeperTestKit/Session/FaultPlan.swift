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
