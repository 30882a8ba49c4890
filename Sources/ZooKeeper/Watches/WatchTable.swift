import Synchronization

/// Which watches the library holds for the session, and who wants to know of their events.
///
/// It is updated on the library's completion thread, in the order of replies and events, which is the order in which
/// the server sent them (rule 10).
package final class WatchTable: Sendable {
    private struct Entry {
        /// Reads under way that ask for this watch.
        var pending = 0
        /// Whether the library holds it, so that it is sent again on each reconnect.
        var isArmed = false
        /// Whether the library was asked to remove it.
        var isLeaving = false
        /// Whether the watch is wanted although no signal is registered here.
        var isKept = false
    }
    private struct State {
        var entries: [WatchKey: Entry] = [:]
        var bytes = 0
        var interests: [WatchKey: [UInt64: WatchSignal]] = [:]
        /// Abandoned watches, which the library holds without an interested sequence, and the bytes of their paths.
        var abandoned: Set<WatchKey> = []
        var abandonedBytes = 0
        /// Removals that the library has not answered, by their tokens.
        var leaving: [UInt64: WatchKey] = [:]
        var hasEnded = false
    }

    /// The library sends all watched paths in one packet when it reconnects, and a packet above 1 MB makes it connect
    /// and disconnect for ever (ZOOKEEPER-706), so their sum is bounded (rule 15).
    static let maximumBytes = 500_000
    /// The bytes of abandoned watches that are left alone, because most are soon wanted again or used up. The event of
    /// a node that is never created does not come, so the rest must be removed.
    static let maximumAbandonedBytes = maximumBytes / 8

    private let state = Mutex(State())

    package init() {}

    // MARK: Interest

    /// From now on raises the signal at each event of these watches.
    package func add(_ signal: WatchSignal, for keys: [WatchKey]) {
        let hasEnded = state.withLock { state in
            for key in keys {
                state.interests[key, default: [:]][signal.number] = signal
                Self.sort(&state, key)
            }
            return state.hasEnded
        }
        if hasEnded { signal.end() }
    }

    /// Forgets the signal. A watch that the library still holds costs one ignored event later, or is removed when there
    /// are many.
    package func remove(_ signal: WatchSignal, for keys: [WatchKey]) {
        state.withLock { state in
            for key in keys {
                state.interests[key]?[signal.number] = nil
                if state.interests[key]?.isEmpty == true { state.interests[key] = nil }
                Self.sort(&state, key)
            }
        }
    }

    /// How many interests there are, for tests that look for what is left behind.
    package var interestCount: Int { state.withLock { $0.interests.count } }
    /// The bytes of the paths that the library holds or is about to hold.
    var watchedBytes: Int { state.withLock { $0.bytes } }

    // MARK: The library's watches

    /// Makes room for a watch before the read that sets it is sent.
    ///
    /// - Parameter isKept: whether the watch is wanted without a signal.
    /// - Returns: whether abandoned watches are to be removed.
    @discardableResult
    func reserve(_ key: WatchKey, isKept: Bool = false) throws -> Bool {
        try state.withLock { state in
            if state.entries[key] == nil {
                guard state.bytes + Self.cost(key) <= Self.maximumBytes else {
                    throw ZooKeeperError(
                        code: .tooManyWatches,
                        message: "The session's watched paths would exceed \(Self.maximumBytes) bytes altogether: "
                            + "watch fewer nodes, or use a further client.",
                        path: key.path, outcome: .notApplied)
                }
                state.bytes += Self.cost(key)
            }
            state.entries[key, default: Entry()].pending += 1
            if isKept { state.entries[key, default: Entry()].isKept = true }
            Self.sort(&state, key)
            return state.abandonedBytes > Self.maximumAbandonedBytes && state.leaving.isEmpty
        }
    }

    /// Takes some abandoned watches, if there are many and no removal is under way. The caller asks the library to
    /// remove each, and passes the answer to ``removed(_:code:)``.
    func takeAbandoned(token: () -> UInt64) -> [(token: UInt64, key: WatchKey)] {
        state.withLock { state in
            guard state.abandonedBytes > Self.maximumAbandonedBytes, state.leaving.isEmpty else { return [] }
            return state.abandoned.prefix(500).map { key in
                let token = token()
                state.leaving[token] = key
                Self.change(&state, key) { $0.isLeaving = true }
                return (token, key)
            }
        }
    }

    /// Notes that a removal has ended. The server has one watch for data and existence, so both are gone. A read may
    /// have set the watch again before it was removed, so every interested sequence reads again.
    func removed(_ token: UInt64, code: Int32) {
        let signals = state.withLock { state -> [WatchSignal] in
            guard let key = state.leaving.removeValue(forKey: token) else { return [] }
            let kinds: [WatchKey.Kind] = key.kind == .children ? [.children] : [.data, .existence]
            return kinds.flatMap { kind -> [WatchSignal] in
                let key = WatchKey(kind: kind, path: key.path)
                Self.change(&state, key) { entry in
                    entry.isLeaving = false
                    if code == 0 { entry.isArmed = false }
                }
                return code == 0 ? Self.inOrder(state.interests[key]) : []
            }
        }
        for signal in signals { signal.raise() }
    }

    /// The read has ended, and the library holds the watch or not.
    func settle(_ key: WatchKey, isArmed: Bool) {
        state.withLock { state in
            Self.change(&state, key) { entry in
                entry.pending -= 1
                if isArmed { entry.isArmed = true }
            }
        }
    }

    /// An event has used up the watches on its path; whoever is interested reads again.
    package func received(_ event: WatchEvent) {
        let signals = state.withLock { state in
            event.keys.flatMap { key in
                Self.change(&state, key) { $0.isArmed = false }
                return Self.inOrder(state.interests[key])
            }
        }
        for signal in signals { signal.raise() }
    }

    /// The connection is back: the library's own way of re-sending watches misses a node that was created and deleted
    /// meanwhile, so everybody reads again (rule 13).
    package func reconnected() {
        for signal in signals() { signal.raise() }
    }

    /// The handle is closed, and its watches with it.
    func handleClosed() {
        state.withLock { state in
            state.leaving = [:]
            for key in state.entries.keys { Self.change(&state, key) { ($0.isArmed, $0.isLeaving) = (false, false) } }
        }
    }

    /// The client is closed: all sequences end.
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
        sort(&state, key)
    }

    /// Adds the watch to the abandoned ones, or takes it out of them, as its state says.
    private static func sort(_ state: inout State, _ key: WatchKey) {
        let entry = state.entries[key] ?? Entry()
        if entry.isArmed, entry.pending <= 0, !entry.isLeaving, !entry.isKept, state.interests[key] == nil {
            if state.abandoned.insert(key).inserted { state.abandonedBytes += cost(key) }
        } else if state.abandoned.remove(key) != nil {
            state.abandonedBytes -= cost(key)
        }
    }

    private static func cost(_ key: WatchKey) -> Int { 4 + key.path.utf8.count }
}
