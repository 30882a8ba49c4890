import Synchronization

/// The limit that the passes of one recovery share, some of whose transactions are under way at the same time.
final class SharedLimit: Sendable {
    private let limit = Mutex(ClaimLimit())

    func allows(_ bytes: Int) -> Bool { limit.withLock { $0.allows(bytes) } }
    func shrink(from bytes: Int) { limit.withLock { $0.shrink(from: bytes) } }
    func pass(of maximum: Int) { limit.withLock { $0.pass(of: maximum) } }
}
