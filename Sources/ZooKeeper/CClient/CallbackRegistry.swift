import Synchronization

/// Identifies a handle and its client. It is the integer that the C client passes to a watcher as its context.
///
/// The upper 24 bits are the number of the client. The lower 40 bits count its handles, or its calls in the token of a
/// call. It is an integer instead of a pointer, because a late callback then finds no entry instead of freed memory;
/// see "Calls and callbacks" in <doc:OverTheCClient>.
struct HandleID: Sendable, Hashable {
    let rawValue: UInt64
    var client: UInt64 { rawValue >> 40 }

    init(rawValue: UInt64) { self.rawValue = rawValue }
    init(client: UInt64, generation: UInt64) { rawValue = client << 40 | generation & 0xFF_FFFF_FFFF }

    /// Returns the client to which a call's token belongs.
    static func client(ofToken token: UInt64) -> UInt64 { token >> 40 }
}

/// Receives the events of the C client, on its threads. Implementations neither block nor call the C client.
protocol CallbackTarget: AnyObject, Sendable {
    func sessionEvent(_ handle: HandleID, state: Int32)
    func watchEvent(_ event: WatchEvent)
    func authenticated(_ handle: HandleID, code: Int32)
    func watchesRemoved(_ token: UInt64, code: Int32)
    func completed(_ token: UInt64, code: Int32, reply: Reply?)
}

/// The clients of the process by their numbers, for the callbacks of the C client.
final class CallbackRegistry: Sendable {
    static let shared = CallbackRegistry()

    private struct State {
        var targets: [UInt64: any CallbackTarget] = [:]
        var next: UInt64 = 1
    }
    private let state = Mutex(State())

    subscript(client: UInt64) -> (any CallbackTarget)? { state.withLock { $0.targets[client] } }

    /// Returns a number for a new client. Numbers repeat after 2^24 - 1 clients of one process.
    func nextClient() -> UInt64 {
        state.withLock { state in
            defer { state.next = state.next % 0xFF_FFFF + 1 }
            return state.next
        }
    }

    /// Registers the target of a client, for as long as one of the client's handles is open.
    func add(_ target: any CallbackTarget, client: UInt64) { state.withLock { $0.targets[client] = target } }

    /// Removes the target of a client. The client's handle is closed, so no callback can arrive any more.
    func remove(client: UInt64) { _ = state.withLock { $0.targets.removeValue(forKey: client) } }
}
