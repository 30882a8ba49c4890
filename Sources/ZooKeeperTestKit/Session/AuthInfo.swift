/// An authenticated identity of a session.
public struct AuthInfo: Sendable, Hashable {
    /// The scheme, such as `digest`.
    public let scheme: String
    /// The identity, in the format of an access control list.
    public let id: String

    /// Creates an identity.
    public init(scheme: String, id: String) {
        self.scheme = scheme
        self.id = id
    }
}
