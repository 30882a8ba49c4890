import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Keeps the xid, the C client's process-wide request number, away from reserved values.
///
/// The xid starts at the time in seconds, grows by one with each call, wraps, and reaches -8…-2 after about 2.5 billion
/// calls. The C client takes the response to such a request for a ping, a watch event or an authentication, and the
/// request hangs or the process crashes (ZOOKEEPER-3286). Shortly before, this guard skips numbers with a call that the
/// C client refuses after it has consumed a number. At -1, the C client starts again at the current time. See
/// "Process-wide state" in <doc:OverTheCClient>.
final class XidGuard: Sendable {
    static let shared = XidGuard(now: { Int32(truncatingIfNeeded: time(nil)) })

    /// The tolerance of this count, because the C client may have started its own count in another second.
    private static let slack: Int32 = 256
    /// The first reserved value. The last one is -2, after which the C client starts again.
    private static let firstReserved: Int32 = -8

    /// The number that the C client uses next. `nil` before the first call.
    private let next: Mutex<Int32?> = Mutex(nil)
    private let now: @Sendable () -> Int32

    init(now: @escaping @Sendable () -> Int32) { self.now = now }

    /// Counts a number that the C client consumes by itself.
    func count() { next.withLock { $0 = after($0 ?? now()) } }

    /// Makes one call that consumes a number.
    ///
    /// Holds the process-wide lock during the call, because no other call may consume a number that is being skipped.
    /// No callback of the C client ever takes this lock.
    func guarding(skip: () -> Int32, call: () -> Int32) -> Int32 {
        next.withLock { next in
            var xid = next ?? now()
            if xid >= Self.firstReserved - Self.slack, xid < 0 {
                // Skips so many numbers that the C client has certainly started again, even when this count is off.
                for _ in xid..<Self.slack {
                    _ = skip()
                    xid = after(xid)
                }
            }
            next = after(xid)
            return call()
        }
    }

    /// Counts as the C client does, which starts again at the current time when it reaches -1.
    private func after(_ xid: Int32) -> Int32 {
        let next = xid &+ 1
        return next == -1 ? now() : next
    }
}
