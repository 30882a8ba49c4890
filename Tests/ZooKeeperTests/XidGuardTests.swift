import Synchronization
import Testing

@testable import ZooKeeper

struct XidGuardTests {
    /// The C client's counter, which the guard can only imitate.
    private final class CClientCounter: Sendable {
        private let state: Mutex<(next: Int32, used: [Int32])>
        private let now: Int32
        init(first: Int32, now: Int32) {
            state = Mutex((first, []))
            self.now = now
        }
        func consume(isSent: Bool) -> Int32 {
            state.withLock { state in
                if state.next == -1 { state.next = now }
                if isSent { state.used.append(state.next) }
                state.next &+= 1
                return 0
            }
        }
        var used: [Int32] { state.withLock { $0.used } }
    }

    @Test(
        "No request is sent with a reserved xid, even when the guard's count is slightly off",
        arguments: [-200, -1, 0, 1, 200] as [Int32])
    func reservedXids(offBy drift: Int32) {
        let start: Int32 = -10_000
        let counter = CClientCounter(first: start &+ drift, now: 1_700_000_000)
        let first = Mutex(true)
        // Returns the start at the first call, and the current time afterwards.
        let xids = XidGuard(
            now: {
                first.withLock { isFirst in
                    defer { isFirst = false }
                    return isFirst ? start : 1_700_000_000
                }
            })
        for _ in 0..<20_000 {
            _ = xids.guarding(skip: { counter.consume(isSent: false) }, call: { counter.consume(isSent: true) })
        }
        #expect(counter.used.count == 20_000)
        #expect(!counter.used.contains { (-8...(-1)).contains($0) })
        #expect(counter.used.contains(1_700_000_500))
    }

    @Test("No xid is skipped far from the reserved values")
    func noSkippedXids() {
        let xids = XidGuard(now: { 1_700_000_000 })
        for _ in 0..<1_000 {
            _ = xids.guarding(
                skip: {
                    Issue.record("An xid was skipped.")
                    return 0
                }, call: { 0 })
        }
    }
}
