/// The context of one call, for a fault plan.
public struct RequestContext: Sendable, Hashable {
    /// The name of the session.
    public let session: String
    /// The number of the call in its session, from 1. A repeated read keeps its number.
    public let number: Int
    /// The operation: `create`, `delete`, `exists`, `get`, `children`, `set`, `getACL`, `setACL`, `sync` or `multi`.
    public let request: String
    /// The path of the call. For a multi, the path of its first operation.
    public let path: String
    /// Whether the call changes nothing.
    public let isRead: Bool
}

/// Returns the fault of a call, or `nil` for none. It is called once for each call.
public typealias FaultPlan = @Sendable (RequestContext) -> Fault?
