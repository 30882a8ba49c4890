import Synchronization
import Testing

@testable import ZooKeeper

struct XidGuardTests {
    /// The library's own counter, which the guard can only follow.
    private final class Library: Sendable {
        private let state: Mutex<(next: Int32, used: [Int32])>
        private let now: Int32
        init(first: Int32, now: Int32) {
            state = Mutex((first, []))
            self.now = now
        }
        func take(_ isSent: Bool) -> Int32 {
            state.withLock { state in
                if state.next == -1 { state.next = now }
                if isSent { state.used.append(state.next) }
                state.next &+= 1
                return 0
            }
        }
        var used: [Int32] { state.withLock { $0.used } }
    }

    @Test(arguments: [-200, -1, 0, 1, 200] as [Int32])
    func reservedNumbersAreNeverUsed(offBy drift: Int32) {
        let start: Int32 = -10_000
        let library = Library(first: start &+ drift, now: 1_700_000_000)
        let first = Mutex(true)
        // The time at the first call, and the true time later.
        let xids = XidGuard(
            now: {
                first.withLock { isFirst in
                    defer { isFirst = false }
                    return isFirst ? start : 1_700_000_000
                }
            })
        for _ in 0..<20_000 { _ = xids.guarding(skip: { library.take(false) }, call: { library.take(true) }) }
        #expect(library.used.count == 20_000)
        #expect(!library.used.contains { (-8...(-1)).contains($0) })
        #expect(library.used.contains(1_700_000_500))
    }

    @Test func farFromThemNothingIsBurnt() {
        let xids = XidGuard(now: { 1_700_000_000 })
        for _ in 0..<1_000 {
            _ = xids.guarding(
                skip: {
                    Issue.record("burnt")
                    return 0
                }, call: { 0 })
        }
    }
}
