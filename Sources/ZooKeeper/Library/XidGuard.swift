import Glibc
import Synchronization

/// Keeps the library's process-wide request number, the xid, away from the values that have a meaning of their own.
///
/// The xid starts at the time in seconds, grows by one a call, wraps, and after about 2.5 thousand million calls comes
/// to -8…-2: an answer to such a request is taken for a ping, a watch event or an authentication, and the request hangs
/// or the process crashes (ZOOKEEPER-3286). Shortly before, this burns numbers with a call that the library refuses
/// after it has taken one (rule 43); when the counter reaches -1, the library starts again from the time.
final class XidGuard: Sendable {
    static let shared = XidGuard(now: { Int32(truncatingIfNeeded: time(nil)) })

    /// How far the count here may be off: the library counts from its own first call, perhaps a second later or
    /// earlier, and takes a number for each close.
    private static let slack: Int32 = 4_096

    private let next: Mutex<Int32?> = Mutex(nil)
    private let now: @Sendable () -> Int32

    init(now: @escaping @Sendable () -> Int32) { self.now = now }

    /// Counts a number that the library takes for itself.
    func count() { next.withLock { next in next = next.map { $0 &+ 1 } } }

    /// Makes one call that takes a number. The lock is held over it, process-wide, so that no other call can take a
    /// number of those that are being burnt; no callback of the library ever takes this lock.
    func guarding(burn: () -> Int32, call: () -> Int32) -> Int32 {
        next.withLock { next in
            var xid = next ?? now()
            if xid >= -8 - Self.slack, xid < 0 {
                // Past -1 by as much again. The library starts from the time when it passes; so does the count here.
                for _ in 0..<(Int(Self.slack) * 2 + 8) { _ = burn() }
                xid = now()
            }
            next = xid &+ 1
            return call()
        }
    }
}
