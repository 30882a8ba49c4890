import ZooKeeper

/// The skipped nodes, and when each may be tried again: a value.
///
/// The pause between two attempts doubles. A node that stays broken therefore costs next to nothing, and a repaired
/// node comes back without any intervention. Listing a folder drops the entries of nodes that are gone, so there are
/// never more entries than nodes in the tree.
struct SkippedNodes: Sendable {
    private struct Entry {
        var reason: SkippedNode.Reason
        var pause: Duration
        var retryTime: Duration
    }
    private var folders: [ExactString: [ExactString: Entry]] = [:]
    private(set) var count = 0

    static let shortestPause = Duration.seconds(1)
    static let longestPause = Duration.seconds(300)

    /// Whether to skip the node for now.
    func isSkipped(_ name: String, in folder: String, at now: Duration) -> Bool {
        guard count > 0, let entry = folders[ExactString(folder)]?[ExactString(name)] else { return false }
        return now < entry.retryTime
    }

    /// Records that a node cannot be handled.
    ///
    /// - Returns: whether the node, or the reason, is new.
    mutating func skip(_ name: String, in folder: String, _ reason: SkippedNode.Reason, at now: Duration) -> Bool {
        let known = folders[ExactString(folder)]?[ExactString(name)]
        // Several clients of this process may meet the node at the same time. One pause is enough.
        if let known, known.reason == reason, now < known.retryTime { return false }
        var pause = Self.shortestPause
        // A name is free again once the other message is settled, so a longer pause would delay a good message.
        if let known, reason != .nameInUse { pause = min(known.pause * 2, Self.longestPause) }
        folders[ExactString(folder), default: [:]][ExactString(name)] = Entry(
            reason: reason, pause: pause, retryTime: now + pause)
        if known == nil { count += 1 }
        return known?.reason != reason
    }

    /// Records that a node was handled after all.
    ///
    /// - Returns: whether the node was skipped before.
    mutating func handled(_ name: String, in folder: String) -> Bool {
        guard count > 0, folders[ExactString(folder)]?.removeValue(forKey: ExactString(name)) != nil else {
            return false
        }
        count -= 1
        return true
    }

    /// Drops the entries of nodes that are no longer in a folder.
    mutating func keep(_ names: [String], in folder: String) {
        guard let entries = folders[ExactString(folder)], !entries.isEmpty else { return }
        var kept: [ExactString: Entry] = [:]
        for name in names {
            let name = ExactString(name)
            if let entry = entries[name] { kept[name] = entry }
        }
        count -= entries.count - kept.count
        folders[ExactString(folder)] = kept.isEmpty ? nil : kept
    }

    /// Drops the folders below `parent` that belong to none of its children `names`.
    mutating func keepFolders(of names: [String], below parent: String) {
        guard count > 0 else { return }
        let kept = Set(names.map { ExactString("\(parent)/\($0)") })
        for folder in folders.keys where folder.string.utf8.starts(with: "\(parent)/".utf8) {
            let child = folder.string.utf8.dropFirst(parent.utf8.count + 1).prefix { $0 != UInt8(ascii: "/") }
            if kept.contains(ExactString("\(parent)/\(String(decoding: child, as: UTF8.self))")) { continue }
            count -= folders[folder]?.count ?? 0
            folders[folder] = nil
        }
    }

    /// Returns the earliest time at which a node of the folder may be tried again.
    func nextRetry(in folder: String) -> Duration? {
        guard count > 0 else { return nil }
        return folders[ExactString(folder)]?.values.lazy.map(\.retryTime).min()
    }

    /// Returns how many nodes of a folder are skipped.
    func count(in folder: String) -> Int { folders[ExactString(folder)]?.count ?? 0 }

    /// All skipped nodes, in the order of their paths.
    var all: [SkippedNode] {
        folders.flatMap { folder, entries in
            entries.map { SkippedNode(path: "\(folder)/\($0)", reason: $1.reason) }
        }.sorted { ExactString($0.path) < ExactString($1.path) }
    }
}
