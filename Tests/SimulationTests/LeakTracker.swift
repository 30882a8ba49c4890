import Synchronization

/// Holds weak references to producers and consumers, to find those that a task still holds at the end.
final class LeakTracker: Sendable {
    private struct Entry: Sendable {
        // Safe: it is written once, before it is shared, and then only compared with nil under a lock. The runtime
        // clears a weak reference atomically.
        nonisolated(unsafe) weak var object: AnyObject?
    }
    private let storage = Mutex<[Entry]>([])
    var aliveCount: Int { storage.withLock { $0.count { $0.object != nil } } }
    func add(_ object: AnyObject?) {
        let entry = Entry(object: object)
        storage.withLock { $0.append(entry) }
    }
}
