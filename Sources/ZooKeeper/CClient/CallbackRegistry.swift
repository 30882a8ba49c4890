import Synchronization

/// The clients of the process by their numbers, for the callbacks of the C client.
final class CallbackRegistry: Sendable {
    static let shared = CallbackRegistry()

    private struct State {
        var targets: [UInt64: any SessionHandleDelegate] = [:]
        var next: UInt64 = 1
    }
    private let state = Mutex(State())

    subscript(client: UInt64) -> (any SessionHandleDelegate)? { state.withLock { $0.targets[client] } }

    /// Returns a number for a new client. Numbers repeat after 2^24 - 1 clients of one process.
    func nextClient() -> UInt64 {
        state.withLock { state in
            defer { state.next = state.next % 0xFF_FFFF + 1 }
            return state.next
        }
    }

    /// Registers the target of a client, for as long as one of the client's handles is open.
    func add(_ target: any SessionHandleDelegate, client: UInt64) { state.withLock { $0.targets[client] = target } }

    /// Removes the target of a client. The client's handle is closed, so no callback can arrive any more.
    func remove(client: UInt64) { _ = state.withLock { $0.targets.removeValue(forKey: client) } }
}
