import Synchronization

/// Producers and consumers, as long as anybody holds them.
final class Members: Sendable {
    private struct Member: Sendable {
        // Only asked whether it is there.
        nonisolated(unsafe) weak var object: AnyObject?
    }
    private let storage = Mutex<[Member]>([])
    var alive: Int { storage.withLock { $0.count { $0.object != nil } } }
    func add(_ object: AnyObject?) {
        let member = Member(object: object)
        storage.withLock { $0.append(member) }
    }
}
