import Synchronization

/// Producers and consumers, as long as anybody holds them.
final class Members: Sendable {
    private struct Member: Sendable {
        // Safe: written once, before it is shared, and then only asked, under a lock, whether it is there. The runtime
        // clears a weak reference atomically.
        nonisolated(unsafe) weak var object: AnyObject?
    }
    private let storage = Mutex<[Member]>([])
    var alive: Int { storage.withLock { $0.count { $0.object != nil } } }
    func add(_ object: AnyObject?) {
        let member = Member(object: object)
        storage.withLock { $0.append(member) }
    }
}
