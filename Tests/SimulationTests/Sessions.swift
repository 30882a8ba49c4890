import Synchronization
import ZooKeeperTestKit

/// The sessions of a run's processes.
final class Sessions: Sendable {
    private let storage = Mutex<[InMemorySession]>([])
    var all: [InMemorySession] { storage.withLock { $0 } }
    func add(_ session: InMemorySession) { storage.withLock { $0.append(session) } }
}
