/// One identity under which a server has authenticated a session.
public struct ClientIdentity: Sendable, Hashable {
    /// The scheme of an access control entry, such as `ip`, `digest` or `x509`.
    public let scheme: String
    /// An address, a user's name, or a certificate's subject. For `digest` it is not the ``ACL/id``, which also has a
    /// hash of the password.
    public let user: String

    package init(scheme: String, user: String) {
        self.scheme = scheme
        self.user = user
    }
}
