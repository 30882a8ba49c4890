import Synchronization

/// The watches that the transport holds for the session, and the signals to raise at their events.
///
/// The transport's completion thread updates the table in the order of responses and events, which is the order in
/// which the server sent them; see "Calls and callbacks" in <doc:OverTheCClient>.
package final class WatchTable: Sendable {
    private struct Entry {
        /// The number of reads in progress that set this watch.
        var pending = 0
        /// Whether the transport holds the watch, and so sends it again after each reconnect.
        var isArmed = false
        /// Whether the node was missing when the watch was set. Only then does the server hold a watch of its
        /// existence; otherwise it holds one of its data.
        var isOnMissingNode = false
        /// Whether the transport was asked to remove the watch.
        var isBeingRemoved = false
        /// Whether the watch is wanted although no signal is registered here.
        var isKept = false
    }
    private struct State {
        var entries: [WatchKey: Entry] = [:]
        var bytes = 0
        var interests: [WatchKey: [UInt64: WatchSignal]] = [:]
        /// The sequences of persistent watches by the numbers of their signals.
        var buffers: [UInt64: (key: WatchKey, buffer: ChangeBuffer)] = [:]
        /// Watches that the transport holds although no sequence is interested, and the bytes of their paths.
        var abandoned: Set<WatchKey> = []
        var abandonedBytes = 0
        /// Persistent watches without an interest. They are removed at once, because the server would report every
        /// change.
        var abandonedPersistent: Set<WatchKey> = []
        /// Removals to which the transport has not responded, by their tokens.
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
    /// Whether there are persistent watches to remove. Read after each response.
    private let mustRemovePersistent = Atomic(false)

    package init() {}

    // MARK: Interest

    /// Raises the signal at each event of these watches from now on.
    package func add(_ signal: WatchSignal, for keys: [WatchKey]) {
        let hasEnded = state.withLock { state in
            for key in keys {
                state.interests[key, default: [:]][signal.number] = signal
                updateAbandoned(&state, key)
            }
            return state.hasEnded
        }
        if hasEnded { signal.end() }
    }

    /// Removes the signal. A watch that the transport still holds costs one ignored event later. When there
    /// are many, the client removes them.
    package func remove(_ signal: WatchSignal, for keys: [WatchKey]) {
        state.withLock { state in
            for key in keys {
                state.interests[key]?[signal.number] = nil
                if state.interests[key]?.isEmpty == true { state.interests[key] = nil }
                updateAbandoned(&state, key)
            }
        }
    }

    /// Collects each event of a persistent watch from now on.
    ///
    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/invalidArgument``) when the other kind of persistent watch
    ///   is in use for this path, because a server before 3.9 keeps only one of them (ZOOKEEPER-4466).
    func add(_ buffer: ChangeBuffer, for key: WatchKey) throws {
        try state.withLock { state in
            let isTaken = state.buffers.values.contains { other, _ in
                other != key && other.path.isIdentical(to: key.path)
            }
            if isTaken {
                throw ZooKeeperError(
                    code: .invalidArgument,
                    message: "Not sent: this client watches the path both recursively and not. Use another client.",
                    path: key.path, outcome: .notApplied)
            }
            state.buffers[buffer.signal.number] = (key, buffer)
        }
        add(buffer.signal, for: [key])
    }

    /// Removes the buffer. Its watch is then abandoned, unless there is another buffer.
    func remove(_ buffer: ChangeBuffer, for key: WatchKey) {
        state.withLock { $0.buffers[buffer.signal.number] = nil }
        remove(buffer.signal, for: [key])
    }

    /// The number of watches with an interested signal. For tests that look for leaks.
    package var interestCount: Int { state.withLock { $0.interests.count } }
    /// The bytes of the paths that the transport holds or is about to hold.
    var watchedBytes: Int { state.withLock { $0.bytes } }

    // MARK: The session's watches

    /// The watches that a handle sets again on a new connection, by the kinds under which a server holds them.
    var armed: [WatchKey] {
        state.withLock { state in
            state.entries.compactMap { key, entry in
                guard entry.isArmed, !state.abandonedPersistent.contains(key) else { return nil }
                return key.kind == .existence && !entry.isOnMissingNode ? WatchKey(kind: .data, path: key.path) : key
            }
        }
    }

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
            updateAbandoned(&state, key)
            return state.abandonedBytes > Self.maximumAbandonedBytes && state.removals.isEmpty
        }
    }

    /// Whether ``takeAbandoned(token:)`` would return persistent watches. A watch can become abandoned when its
    /// response arrives after its sequence has ended, and again when its removal has failed.
    var hasAbandonedPersistent: Bool { mustRemovePersistent.load(ordering: .relaxed) }

    /// Takes all abandoned persistent watches, and up to 500 others if there are many and no removal is in progress.
    /// The caller asks the transport to remove each of them, and passes the result to ``removed(_:error:)``.
    func takeAbandoned(token: () -> UInt64) -> [(token: UInt64, key: WatchKey)] {
        state.withLock { state in
            var keys = Array(state.abandonedPersistent)
            if state.abandonedBytes > Self.maximumAbandonedBytes, state.removals.isEmpty {
                keys += state.abandoned.prefix(500)
            }
            return keys.map { key in
                let token = token()
                state.removals[token] = key
                change(&state, key) { $0.isBeingRemoved = true }
                return (token, key)
            }
        }
    }

    /// Records that a removal has ended. The server has one watch for data and existence, so both are removed. With a
    /// persistent watch it removes all watches of the path, and before 3.9 the persistent ones with any other. A read
    /// may have set the watch again before it was removed, so every interested sequence reads again.
    ///
    /// - Returns: The path of the removed watch.
    @discardableResult
    func removed(_ token: UInt64, error: ZooKeeperError.Code?) -> String? {
        let (path, signals) = state.withLock { state -> (String?, [WatchSignal]) in
            guard let key = state.removals.removeValue(forKey: token) else { return (nil, []) }
            // Otherwise the server has removed it, or had none (-121).
            let isLost = error.map { !key.isPersistent || $0 == .invalidState || $0.leavesOutcomeUnknown } ?? false
            let kinds: [WatchKey.Kind] =
                switch key.kind {
                case .children: [.children]
                case .data, .existence: [.data, .existence]
                case .persistent, .recursive: [.data, .existence, .children, .persistent, .recursive]
                }
            var signals = isLost ? [] : Self.restart(state, at: key.path, [.persistent, .recursive])
            for kind in kinds {
                let other = WatchKey(kind: kind, path: key.path)
                change(&state, other) { entry in
                    if other == key || !key.isPersistent { entry.isBeingRemoved = false }
                    if !isLost { entry.isArmed = false }
                }
                if !isLost, !other.isPersistent { signals += Self.inOrder(state.interests[other]) }
            }
            return (key.path, signals)
        }
        for signal in signals { signal.raise() }
        return path
    }

    /// Records that a read has ended, and whether the transport holds the watch.
    ///
    /// A server before 3.9 has one kind of watch for a session and a path in each of two tables (ZOOKEEPER-4466). A
    /// watch of data or existence replaces a persistent watch in the table of data, and a watch of children the one in
    /// the table of children, where a recursive watch needs nothing, but replaces a watch of children.
    ///
    /// - Parameter isOnMissingNode: Whether the read has found no node.
    func settle(_ key: WatchKey, isArmed: Bool, isOnMissingNode: Bool = false) {
        let signals = state.withLock { state -> [WatchSignal] in
            change(&state, key) { entry in
                entry.pending -= 1
                if isArmed { (entry.isArmed, entry.isOnMissingNode) = (true, isOnMissingNode) }
            }
            guard isArmed else { return [] }
            switch key.kind {
            case .data, .existence: return Self.restart(state, at: key.path, [.persistent, .recursive])
            case .children: return Self.restart(state, at: key.path, [.persistent])
            case .persistent, .recursive:
                for (other, buffer) in state.buffers.values where other == key { buffer.armed() }
                let children = WatchKey(kind: .children, path: key.path)
                guard key.kind == .recursive, state.entries[children]?.isArmed == true else { return [] }
                change(&state, children) { $0.isArmed = false }
                return Self.inOrder(state.interests[children])
            }
        }
        for signal in signals { signal.raise() }
    }

    /// Removes the watches that an event has fired, and raises the signals of the interested
    /// sequences, which then read again.
    package func received(_ event: WatchEvent) {
        let signals = state.withLock { state in
            let buffers = state.buffers.values.filter { $0.key.covers(event) && $0.buffer.append(event) }
            return buffers.map(\.buffer.signal).sorted { $0.number < $1.number }
                + event.keys.flatMap { key in
                    change(&state, key) { $0.isArmed = false }
                    return Self.inOrder(state.interests[key])
                }
        }
        for signal in signals { signal.raise() }
    }

    /// Raises all signals after a reconnect, and every sequence reads again. The transport sets its watches again, but
    /// misses a node that was created and deleted in the meantime; see "Watches" in <doc:OverTheCClient>.
    package func reconnected() {
        state.withLock { state in for (_, buffer) in state.buffers.values { _ = buffer.restart() } }
        for signal in signals() { signal.raise() }
    }

    /// Removes the watches of a handle that was closed.
    func handleClosed() {
        state.withLock { state in
            state.removals = [:]
            for key in state.entries.keys {
                change(&state, key) { ($0.isArmed, $0.isBeingRemoved) = (false, false) }
            }
        }
    }

    /// Ends all sequences, because the client is closed.
    package func end() {
        state.withLock { $0.hasEnded = true }
        for signal in signals() { signal.end() }
    }

    /// Restarts the sequences of persistent watches on a path.
    ///
    /// - Returns: The signals to raise.
    private static func restart(_ state: State, at path: String, _ kinds: Set<WatchKey.Kind>) -> [WatchSignal] {
        state.buffers.values
            .filter { kinds.contains($0.key.kind) && $0.key.path.isIdentical(to: path) && $0.buffer.restart() }
            .map(\.buffer.signal).sorted { $0.number < $1.number }
    }

    private func signals() -> [WatchSignal] {
        state.withLock { $0.interests.values.flatMap(\.values).sorted { $0.number < $1.number } }
    }

    private static func inOrder(_ interests: [UInt64: WatchSignal]?) -> [WatchSignal] {
        (interests ?? [:]).values.sorted { $0.number < $1.number }
    }

    private func change(_ state: inout State, _ key: WatchKey, _ body: (inout Entry) -> Void) {
        guard var entry = state.entries[key] else { return }
        body(&entry)
        if entry.pending <= 0, !entry.isArmed {
            state.entries[key] = nil
            state.bytes -= Self.cost(key)
        } else {
            state.entries[key] = entry
        }
        updateAbandoned(&state, key)
    }

    /// Adds the watch to the abandoned ones or removes it from them, depending on its state.
    private func updateAbandoned(_ state: inout State, _ key: WatchKey) {
        let entry = state.entries[key] ?? Entry()
        let isAbandoned =
            entry.isArmed && entry.pending <= 0 && !entry.isBeingRemoved && !entry.isKept
            && state.interests[key] == nil
        if key.isPersistent {
            if isAbandoned { state.abandonedPersistent.insert(key) } else { state.abandonedPersistent.remove(key) }
            mustRemovePersistent.store(!state.abandonedPersistent.isEmpty, ordering: .relaxed)
        } else if isAbandoned {
            if state.abandoned.insert(key).inserted { state.abandonedBytes += Self.cost(key) }
        } else if state.abandoned.remove(key) != nil {
            state.abandonedBytes -= Self.cost(key)
        }
    }

    private static func cost(_ key: WatchKey) -> Int { 4 + key.path.utf8.count }
}
