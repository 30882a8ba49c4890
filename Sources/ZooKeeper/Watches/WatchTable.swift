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
    }
    private struct State {
        var entries: [WatchKey: Entry] = [:]
        var bytes = 0
        var interests: [WatchKey: [ObjectIdentifier: WatchSignal]] = [:]
        var hasEnded = false
    }

    /// The library sends all watched paths in one packet when it reconnects, and a packet above 1 MB makes it connect
    /// and disconnect for ever (ZOOKEEPER-706), so their sum is bounded (rule 15).
    static let maximumBytes = 500_000

    private let state = Mutex(State())

    package init() {}

    // MARK: Interest

    /// From now on raises the signal at each event of these watches.
    package func add(_ signal: WatchSignal, for keys: [WatchKey]) {
        let hasEnded = state.withLock { state in
            for key in keys { state.interests[key, default: [:]][ObjectIdentifier(signal)] = signal }
            return state.hasEnded
        }
        if hasEnded { signal.end() }
    }

    /// Forgets the signal. A watch that the library still holds costs one unheard event later; the library's own call
    /// to remove one corrupts memory (rule 14).
    package func remove(_ signal: WatchSignal, for keys: [WatchKey]) {
        state.withLock { state in
            for key in keys {
                state.interests[key]?[ObjectIdentifier(signal)] = nil
                if state.interests[key]?.isEmpty == true { state.interests[key] = nil }
            }
        }
    }

    /// How many interests there are, for tests that look for what is left behind.
    package var interestCount: Int { state.withLock { $0.interests.count } }
    /// The bytes of the paths that the library holds or is about to hold.
    var watchedBytes: Int { state.withLock { $0.bytes } }

    // MARK: The library's watches

    /// Makes room for a watch before the read that sets it is sent.
    func reserve(_ key: WatchKey) throws {
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
        }
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
                return state.interests[key].map { Array($0.values) } ?? []
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
            for key in state.entries.keys { Self.change(&state, key) { $0.isArmed = false } }
        }
    }

    /// The client is closed: all sequences end.
    package func end() {
        state.withLock { $0.hasEnded = true }
        for signal in signals() { signal.end() }
    }

    private func signals() -> [WatchSignal] { state.withLock { $0.interests.values.flatMap(\.values) } }

    private static func change(_ state: inout State, _ key: WatchKey, _ body: (inout Entry) -> Void) {
        guard var entry = state.entries[key] else { return }
        body(&entry)
        if entry.pending <= 0, !entry.isArmed {
            state.entries[key] = nil
            state.bytes -= cost(key)
        } else {
            state.entries[key] = entry
        }
    }

    private static func cost(_ key: WatchKey) -> Int { 4 + key.path.utf8.count }
}
