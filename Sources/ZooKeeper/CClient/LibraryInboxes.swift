import Synchronization

/// Which handle of which client: the integer that travels through the library as a watcher's context.
///
/// The upper 24 bits name the client and the lower 40 count its handles, or its calls in a call's token. An integer
/// instead of a pointer, so that a late callback finds nothing instead of freed memory (rules 2, 7 and 11).
struct HandleID: Sendable, Hashable {
    let rawValue: UInt64
    var client: UInt64 { rawValue >> 40 }

    init(rawValue: UInt64) { self.rawValue = rawValue }
    init(client: UInt64, generation: UInt64) { rawValue = client << 40 | generation & 0xFF_FFFF_FFFF }

    /// The client that a call's token belongs to.
    static func client(ofToken token: UInt64) -> UInt64 { token >> 40 }
}

/// What the library's threads tell a client. Implementations neither block nor call the library.
protocol LibraryInbox: AnyObject, Sendable {
    func sessionEvent(_ handle: HandleID, state: Int32)
    func watchEvent(_ event: WatchEvent)
    func authenticated(_ handle: HandleID, code: Int32)
    func watchesRemoved(_ token: UInt64, code: Int32)
    func completed(_ token: UInt64, code: Int32, reply: Reply?)
}

/// The process's clients by their numbers, for the library's callbacks.
final class LibraryInboxes: Sendable {
    static let shared = LibraryInboxes()

    private struct State {
        var inboxes: [UInt64: any LibraryInbox] = [:]
        var next: UInt64 = 1
    }
    private let state = Mutex(State())

    subscript(client: UInt64) -> (any LibraryInbox)? { state.withLock { $0.inboxes[client] } }

    /// A number for a new client. 2^24 clients may be made in a process's life before numbers come again.
    func nextClient() -> UInt64 {
        state.withLock { state in
            defer { state.next = state.next % 0xFF_FFFF + 1 }
            return state.next
        }
    }

    /// Keeps an inbox while a handle of its client is open.
    func add(_ inbox: any LibraryInbox, client: UInt64) { state.withLock { $0.inboxes[client] = inbox } }

    /// Forgets it: the client's handle is closed, so that nothing can call it any more.
    func remove(client: UInt64) { _ = state.withLock { $0.inboxes.removeValue(forKey: client) } }
}
