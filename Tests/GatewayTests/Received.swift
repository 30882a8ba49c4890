import Synchronization

/// The text that was received so far.
final class Received: Sendable {
    private let storage = Mutex("")
    var text: String { storage.withLock { $0 } }
    func append(_ part: String) { storage.withLock { $0 += part } }
}
