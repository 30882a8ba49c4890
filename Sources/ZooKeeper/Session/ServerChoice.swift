/// Chooses the servers that a client tries: those of its configuration, or those that the ensemble
/// has since reported. It is a value.
///
/// The current list comes first, because usually another server of it responds at once. When none responds for a
/// moment, the client tries the reported servers, because the configured ones may be gone. Then it alternates
/// between the two lists, because the client may be in a network from which it cannot reach the servers by the
/// addresses in their configuration.
struct ServerChoice: Sendable, Hashable {
    /// The servers of the client's configuration.
    let configured: String
    /// The servers that the ensemble has last reported in full.
    private(set) var members: String?
    /// The servers that the client tries, or to which it is connected.
    private(set) var current: String

    init(configured: String) {
        self.configured = configured
        current = configured
    }

    /// Stores the servers that the ensemble has reported. An incomplete report does not replace a complete one.
    mutating func learn(_ members: EnsembleMembers?) { self.members = members?.servers ?? self.members }

    /// Switches to the other list, after no server of the current one has responded for some time.
    ///
    /// - Returns: Whether there are other servers to try now.
    mutating func tryOther() -> Bool {
        let first = members ?? configured
        let next = Self.areSame(current, first) ? configured : first
        // The same servers in another order do not justify another handle.
        if Self.areSame(current, next) { return false }
        current = next
        return true
    }

    private static func areSame(_ a: String, _ b: String) -> Bool {
        Set(a.split(separator: ",")) == Set(b.split(separator: ","))
    }
}
