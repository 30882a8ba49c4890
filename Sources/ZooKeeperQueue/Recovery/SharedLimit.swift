import Synchronization

/// A ``ClaimLimit`` that the passes of one recovery share, and its concurrent transactions too.
final class SharedLimit: Sendable {
    private let limit = Mutex(ClaimLimit())

    func allows(_ bytes: Int) -> Bool { limit.withLock { $0.allows(bytes) } }
    func shrink(from bytes: Int) { limit.withLock { $0.shrink(from: bytes) } }
    func pass(of maximum: Int) { limit.withLock { $0.pass(of: maximum) } }
}
