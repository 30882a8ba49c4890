/// Which servers a client tries: those that it was given, or those that the ensemble has since named as its members. A value.
///
/// The members come first, since the others may be gone. But a client may be somewhere from where it cannot reach them by the
/// names that they have for each other; so when one list does not lead to a connection, the other one is tried.
struct ServerChoice: Sendable, Hashable {
    /// What the client was given.
    let configured: String
    /// What the ensemble says.
    private(set) var members: String?
    /// What is tried, or connected to.
    private(set) var current: String

    init(configured: String) {
        self.configured = configured
        current = configured
    }

    /// The ensemble has said who its members are; `nil` when it did not say it in full.
    mutating func learn(_ members: EnsembleMembers?) { self.members = members?.servers }

    /// The connection is lost.
    ///
    /// - Returns: whether another list is to be tried now.
    mutating func disconnected() -> Bool { change(to: members ?? configured) }

    /// No server of the present list was reached for long.
    ///
    /// - Returns: whether another list is to be tried now.
    mutating func failed() -> Bool { change(to: current == configured ? members ?? configured : configured) }

    private mutating func change(to list: String) -> Bool {
        // The same servers in another order are no reason to move.
        if Set(list.split(separator: ",")) == Set(current.split(separator: ",")) { return false }
        current = list
        return true
    }
}
