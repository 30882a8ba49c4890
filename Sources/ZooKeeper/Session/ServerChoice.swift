/// Which servers a client tries: those that it was given, or those that the ensemble has since named as its members. A value.
///
/// The present ones come first: as a rule, another of them answers at once. When none does for a moment, the members are tried,
/// since the others may be gone; and then each list in turn, since a client may be somewhere from where it cannot reach the
/// members by the names that they have for each other.
struct ServerChoice: Sendable, Hashable {
    /// What the client was given.
    let configured: String
    /// What the ensemble has said last, when it said it in full.
    private(set) var members: String?
    /// What is tried, or connected to.
    private(set) var current: String

    init(configured: String) {
        self.configured = configured
        current = configured
    }

    /// The ensemble has said who its members are. What does not say where each of them serves clients is no reason to forget
    /// what did.
    mutating func learn(_ members: EnsembleMembers?) { self.members = members?.servers ?? self.members }

    /// The present list has led nowhere for some time.
    ///
    /// - Returns: whether another list is to be tried now.
    mutating func tryOther() -> Bool {
        let first = members ?? configured
        let next = Self.areSame(current, first) ? configured : first
        // The same servers in another order are no reason to move.
        if Self.areSame(current, next) { return false }
        current = next
        return true
    }

    private static func areSame(_ a: String, _ b: String) -> Bool {
        Set(a.split(separator: ",")) == Set(b.split(separator: ","))
    }
}
