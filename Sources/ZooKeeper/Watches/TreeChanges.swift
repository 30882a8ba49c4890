import DequeModule
import Synchronization

/// A change that a persistent watch has reported. The paths are those of the client, without its chroot.
public enum TreeChange: Sendable, Hashable {
    /// The watch has begun, or changes may have been missed. Read again what you need. The following elements have
    /// every change since then, and possibly some from just before.
    case restarted
    /// A node was created.
    case created(path: String)
    /// A node was deleted.
    case deleted(path: String)
    /// The data of a node was set.
    case dataChanged(path: String)
    /// Children of the node were created or deleted. Only a watch that is not recursive reports it.
    case childrenChanged(path: String)
}

/// The changes of a node and of the nodes below it, from a persistent watch (`addWatch`).
///
/// The first element is ``TreeChange/restarted``. It is repeated whenever changes may have been missed: after a
/// reconnect, after the session has expired, or when more than 1,000 unread changes had to be dropped. The sequence
/// ends (`nil`) when the task is cancelled or the client is closed. It throws only errors that retrying cannot fix:
/// ``ZooKeeperError/Code/unimplemented`` with the C client and with servers before 3.6, and
/// ``ZooKeeperError/Code/invalidArgument`` when the client already watches the same path with another value of
/// `recursively`.
///
/// The client removes the watch when the last iterator for the path is released.
///
/// A read that watches the node itself replaces the persistent watch on servers before 3.9 (ZOOKEEPER-4466). So when
/// the same client uses ``ZooKeeperClient/dataUpdates(of:)`` or a similar sequence on that node, each of its reads
/// restarts this sequence, with any server. Do not read the node with such a sequence in response to
/// ``TreeChange/restarted``. Servers since 3.8.4 and 3.9.2 do not report nodes that the session may not read.
public struct TreeChanges: AsyncSequence, Sendable {
    let source: Source

    /// Where the changes come from.
    struct Source: Sendable {
        let table: WatchTable
        /// `nil` for an invalid path, whose reason the first request throws.
        let key: WatchKey?
        /// Sets the watch.
        let arm: @Sendable () async throws -> Void
        /// Removes the watches that no sequence is interested in.
        let cleanUp: @Sendable () -> Void
        /// Returns the path for the caller.
        let local: @Sendable (String) -> String
    }

    /// Returns an iterator, which begins to watch at the first call of `next()`.
    public func makeAsyncIterator() -> Iterator { Iterator(reader: TreeChangeReader(source)) }

    /// An iterator for one task.
    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let reader: TreeChangeReader

        /// Returns the next change, which may have happened before the call.
        ///
        /// - Returns: `nil` when the task is cancelled or the client is closed.
        /// - Throws: ``ZooKeeperError`` when the watch cannot be set.
        public mutating func next() async throws -> TreeChange? { try await reader.next() }
    }
}

@available(*, unavailable)
extension TreeChanges.Iterator: Sendable {}

/// The state of one iterator.
private final class TreeChangeReader {
    private let source: TreeChanges.Source
    private let buffer = ChangeBuffer()
    private var hasBegun = false
    private var hasEnded = false

    init(_ source: TreeChanges.Source) { self.source = source }

    deinit { end() }

    func next() async throws -> TreeChange? {
        if hasEnded { return nil }
        do {
            if !hasBegun, let key = source.key { try source.table.add(buffer, for: key) }
            hasBegun = true
            while !Task.isCancelled, !buffer.signal.hasEnded {
                switch buffer.take() {
                case .event(let event): return change(event)
                case .restart: if try await restart() { return .restarted }
                case nil: await buffer.signal.wait()
                }
            }
        } catch {
            end()
            throw error
        }
        end()
        return nil
    }

    /// Sets the watch. Later changes are then in the buffer.
    ///
    /// - Returns: Whether the watch is set.
    private func restart() async throws -> Bool {
        do {
            try await source.arm()
            return true
        } catch {
            buffer.failed()
            try await buffer.signal.handle(error)
            return false
        }
    }

    private func change(_ event: WatchEvent) -> TreeChange {
        let path = source.local(event.path)
        return switch event.kind {
        case .created: .created(path: path)
        case .deleted: .deleted(path: path)
        case .dataChanged: .dataChanged(path: path)
        case .childrenChanged: .childrenChanged(path: path)
        }
    }

    private func end() {
        if hasEnded { return }
        hasEnded = true
        guard hasBegun, let key = source.key else { return }
        source.table.remove(buffer, for: key)
        source.cleanUp()
    }
}

/// The events of a persistent watch that its sequence has not read yet.
final class ChangeBuffer: Sendable {
    enum Element: Sendable, Equatable {
        case event(WatchEvent)
        /// Events may have been missed. The reader must set the watch.
        case restart
    }
    private enum Phase {
        /// Events may be missed, or were.
        case stale
        /// The reader sets the watch. A request that is lost with its connection is repeated on the next one.
        case arming
        case armed
    }
    private struct State {
        var phase = Phase.stale
        /// Empty unless the watch is set.
        var events: Deque<WatchEvent> = []
    }
    static let capacity = 1_000

    let signal = WatchSignal()
    private let state = Mutex(State())

    /// Returns the next element, or `nil` when there is none.
    func take() -> Element? {
        state.withLock { state in
            if state.phase == .stale {
                state.phase = .arming
                return .restart
            }
            return state.events.popFirst().map { .event($0) }
        }
    }

    /// Records that the watch is set, if the reader has asked for it. Later events are kept.
    func armed() { state.withLock { if $0.phase == .arming { $0.phase = .armed } } }

    /// Records that the reader could not set the watch.
    func failed() { state.withLock { $0 = State() } }

    /// Keeps an event, if the watch is set.
    ///
    /// - Returns: Whether the caller must raise the signal.
    func append(_ event: WatchEvent) -> Bool {
        state.withLock { state in
            guard state.phase == .armed else { return false }
            state.events.append(event)
            if state.events.count > Self.capacity { state = State() }
            return true
        }
    }

    /// Drops the events, because others may have been missed.
    ///
    /// - Returns: Whether the caller must raise the signal.
    func restart() -> Bool {
        state.withLock { state in
            guard state.phase == .armed else { return false }
            state = State()
            return true
        }
    }
}
