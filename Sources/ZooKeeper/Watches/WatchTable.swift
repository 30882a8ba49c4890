import Synchronization

/// The watches that the C client holds for the session, and the signals to raise at their events.
///
/// The C client's completion thread updates the table in the order of responses and events, which is the order in which
/// the server sent them; see "Calls and callbacks" in <doc:OverTheCClient>.
package final class WatchTable: Sendable {
    private struct Entry {
        /// The number of reads in progress that set this watch.
        var pending = 0
        /// Whether the C client holds the watch, and so sends it again after each reconnect.
        var isArmed = false
        /// Whether the C client was asked to remove the watch.
        var isBeingRemoved = false
        /// Whether the watch is wanted although no signal is registered here.
        var isKept = false
    }
    private struct State {
        var entries: [WatchKey: Entry] = [:]
        var bytes = 0
        var interests: [WatchKey: [UInt64: WatchSignal]] = [:]
        /// Watches that the C client holds although no sequence is interested, and the bytes of their paths.
        var abandoned: Set<WatchKey> = []
        var abandonedBytes = 0
        /// Removals to which the C client has not responded, by their tokens.
        var removals: [UInt64: WatchKey] = [:]
        var hasEnded = false
    }

    /// The C client sends all watched paths in one packet after a reconnect. A packet of more than 1 MB
    /// makes it connect and disconnect forever (ZOOKEEPER-706), so their total size is limited; see
    /// "Watches" in <doc:OverTheCClient>.
    static let maximumBytes = 500_000
    /// The maximum bytes of abandoned watches that the table leaves alone, because most of them are soon wanted again
    /// or fire. The watch of a node that is never created does not fire, so the table must remove the rest.
    static let maximumAbandonedBytes = maximumBytes / 8

    private let state = Mutex(State())

    package init() {}

    // MARK: Interest

    /// Raises the signal at each event of these watches from now on.
    package func add(_ signal: WatchSignal, for keys: [WatchKey]) {
        let hasEnded = state.withLock { state in
            for key in keys {
                state.interests[key, default: [:]][signal.number] = signal
                Self.updateAbandoned(&state, key)
            }
            return state.hasEnded
        }
        if hasEnded { signal.end() }
    }

    /// Removes the signal. A watch that the C client still holds costs one ignored event later. When there
    /// are many, the client removes them.
    package func remove(_ signal: WatchSignal, for keys: [WatchKey]) {
        state.withLock { state in
            for key in keys {
                state.interests[key]?[signal.number] = nil
                if state.interests[key]?.isEmpty == true { state.interests[key] = nil }
                Self.updateAbandoned(&state, key)
            }
        }
    }

    /// The number of watches with an interested signal. For tests that look for leaks.
    package var interestCount: Int { state.withLock { $0.interests.count } }
    /// The bytes of the paths that the C client holds or is about to hold.
    var watchedBytes: Int { state.withLock { $0.bytes } }

    // MARK: The C client's watches

    /// Reserves bytes for a watch before the read that sets it is sent.
    ///
    /// - Parameter isKept: Whether the watch is wanted without a signal.
    /// - Returns: Whether the caller must remove abandoned watches.
    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/tooManyWatches``) when the limit would be exceeded.
    @discardableResult
    func reserve(_ key: WatchKey, isKept: Bool = false) throws -> Bool {
        try state.withLock { state in
            if state.entries[key] == nil {
                guard state.bytes + Self.cost(key) <= Self.maximumBytes else {
                    throw ZooKeeperError(
                        code: .tooManyWatches,
                        message: "Not sent: the session's watched paths would exceed \(Self.maximumBytes) bytes in "
                            + "total. Watch fewer nodes, or use another client.",
                        path: key.path, outcome: .notApplied)
                }
                state.bytes += Self.cost(key)
            }
            state.entries[key, default: Entry()].pending += 1
            if isKept { state.entries[key, default: Entry()].isKept = true }
            Self.updateAbandoned(&state, key)
            return state.abandonedBytes > Self.maximumAbandonedBytes && state.removals.isEmpty
        }
    }

    /// Takes up to 500 abandoned watches, if there are many and no removal is in progress. The caller asks the C client
    /// to remove each of them, and passes the result to ``removed(_:code:)``.
    func takeAbandoned(token: () -> UInt64) -> [(token: UInt64, key: WatchKey)] {
        state.withLock { state in
            guard state.abandonedBytes > Self.maximumAbandonedBytes, state.removals.isEmpty else { return [] }
            return state.abandoned.prefix(500).map { key in
                let token = token()
                state.removals[token] = key
                Self.change(&state, key) { $0.isBeingRemoved = true }
                return (token, key)
            }
        }
    }

    /// Records that a removal has ended. The server has one watch for data and existence, so both are removed. A read
    /// may have set the watch again before it was removed, so every interested sequence reads again.
    func removed(_ token: UInt64, code: Int32) {
        let signals = state.withLock { state -> [WatchSignal] in
            guard let key = state.removals.removeValue(forKey: token) else { return [] }
            let kinds: [WatchKey.Kind] = key.kind == .children ? [.children] : [.data, .existence]
            return kinds.flatMap { kind -> [WatchSignal] in
                let key = WatchKey(kind: kind, path: key.path)
                Self.change(&state, key) { entry in
                    entry.isBeingRemoved = false
                    if code == 0 { entry.isArmed = false }
                }
                return code == 0 ? Self.inOrder(state.interests[key]) : []
            }
        }
        for signal in signals { signal.raise() }
    }

    /// Records that a read has ended, and whether the C client holds the watch.
    func settle(_ key: WatchKey, isArmed: Bool) {
        state.withLock { state in
            Self.change(&state, key) { entry in
                entry.pending -= 1
                if isArmed { entry.isArmed = true }
            }
        }
    }

    /// Removes the watches that an event has fired, and raises the signals of the interested
    /// sequences, which then read again.
    package func received(_ event: WatchEvent) {
        let signals = state.withLock { state in
            event.keys.flatMap { key in
                Self.change(&state, key) { $0.isArmed = false }
                return Self.inOrder(state.interests[key])
            }
        }
        for signal in signals { signal.raise() }
    }

    /// Raises all signals after a reconnect, and every sequence reads again. The C client sets its watches again, but
    /// misses a node that was created and deleted in the meantime; see "Watches" in <doc:OverTheCClient>.
    package func reconnected() {
        for signal in signals() { signal.raise() }
    }

    /// Removes the watches of a handle that was closed.
    func handleClosed() {
        state.withLock { state in
            state.removals = [:]
            for key in state.entries.keys {
                Self.change(&state, key) { ($0.isArmed, $0.isBeingRemoved) = (false, false) }
            }
        }
    }

    /// Ends all sequences, because the client is closed.
    package func end() {
        state.withLock { $0.hasEnded = true }
        for signal in signals() { signal.end() }
    }

    private func signals() -> [WatchSignal] {
        state.withLock { $0.interests.values.flatMap(\.values).sorted { $0.number < $1.number } }
    }

    private static func inOrder(_ interests: [UInt64: WatchSignal]?) -> [WatchSignal] {
        (interests ?? [:]).values.sorted { $0.number < $1.number }
    }

    private static func change(_ state: inout State, _ key: WatchKey, _ body: (inout Entry) -> Void) {
        guard var entry = state.entries[key] else { return }
        body(&entry)
        if entry.pending <= 0, !entry.isArmed {
            state.entries[key] = nil
            state.bytes -= cost(key)
        } else {
            state.entries[key] = entry
        }
        updateAbandoned(&state, key)
    }

    /// Adds the watch to the abandoned ones or removes it from them, depending on its state.
    private static func updateAbandoned(_ state: inout State, _ key: WatchKey) {
        let entry = state.entries[key] ?? Entry()
        if entry.isArmed, entry.pending <= 0, !entry.isBeingRemoved, !entry.isKept, state.interests[key] == nil {
            if state.abandoned.insert(key).inserted { state.abandonedBytes += cost(key) }
        } else if state.abandoned.remove(key) != nil {
            state.abandonedBytes -= cost(key)
        }
    }

    private static func cost(_ key: WatchKey) -> Int { 4 + key.path.utf8.count }
}
