/// The name of a node in the line of a lock: `<kind>-<32 hexadecimal digits>-<sequence number>`.
struct LockNode: Sendable, Hashable {
    /// What a node excludes.
    enum Kind: String, Sendable {
        /// Other nodes of this kind are let through.
        case read
        case write
    }

    let name: String
    let kind: Kind
    /// Signed, because the server's number is.
    let sequence: Int32

    /// Parses a name. `nil` for other nodes below the same parent, which have no place in the line.
    init?(_ name: String) {
        // A negative number has a minus of its own.
        let parts = name.split(separator: "-", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let kind = Kind(rawValue: String(parts[0])), parts[2].utf8.count >= 10,
            let sequence = Int32(parts[2])
        else { return nil }
        (self.name, self.kind, self.sequence) = (name, kind, sequence)
    }

    /// Returns the last of the nodes that must be gone before this node holds the lock; `nil` when it holds the lock.
    ///
    /// A node must always be compared with the whole line. When the node that it waited for is gone, an earlier one can
    /// still be there.
    func blocker(in names: [String]) -> String? {
        names.compactMap(LockNode.init)
            .filter { $0.sequence < sequence && (kind == .write || $0.kind == .write) }
            .max { $0.sequence < $1.sequence }?.name
    }
}
