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

    /// How far the count here may be off: the library's own count began perhaps in another second.
    private static let slack: Int32 = 256
    /// The first of the values that have a meaning of their own; the last one before the library begins anew is -2.
    private static let firstReserved: Int32 = -8

    /// The number that the library takes next; `nil` before the first.
    private let next: Mutex<Int32?> = Mutex(nil)
    private let now: @Sendable () -> Int32

    init(now: @escaping @Sendable () -> Int32) { self.now = now }

    /// Counts a number that the library takes for itself.
    func count() { next.withLock { $0 = after($0 ?? now()) } }

    /// Makes one call that takes a number. The lock is held over it, process-wide, so that no other call can take a
    /// number of those that are being burnt; no callback of the library ever takes this lock.
    func guarding(burn: () -> Int32, call: () -> Int32) -> Int32 {
        next.withLock { next in
            var xid = next ?? now()
            if xid >= Self.firstReserved - Self.slack, xid < 0 {
                // Until it is certain that the library has begun anew, however far off the count is.
                for _ in xid..<Self.slack {
                    _ = burn()
                    xid = after(xid)
                }
            }
            next = after(xid)
            return call()
        }
    }

    /// As the library counts: where it finds -1, it begins anew with the time.
    private func after(_ xid: Int32) -> Int32 {
        let next = xid &+ 1
        return next == -1 ? now() : next
    }
}
