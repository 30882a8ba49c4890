import Synchronization
import ZooKeeperTestKit

/// The processes of a run.
final class Sessions: Sendable {
    private let storage = Mutex<[InMemorySession]>([])
    var all: [InMemorySession] { storage.withLock { $0 } }
    func add(_ session: InMemorySession) { storage.withLock { $0.append(session) } }
}
