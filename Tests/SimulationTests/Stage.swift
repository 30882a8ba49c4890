import QueueHistory
import Synchronization
import ZooKeeper
import ZooKeeperTestKit

/// Who works on which message now: two that both believe to hold a lease are one too many.
final class Stage: Sendable {
    private struct Work: Sendable {
        let delivery: any Delivery
        let store: InMemorySession
        let sessionID: Int64

        /// A process that is stopped or dead believes nothing; one whose session is another by now has been told.
        var isBelieved: Bool {
            delivery.isHeld && !store.isPaused && store.sessionState.phase != .closed
                && store.sessionState.sessionID == sessionID
        }
    }
    private let state = Mutex<(work: [Work], violations: [Violation])>(([], []))

    var violations: [Violation] { state.withLock { $0.violations } }

    func object(_ violation: Violation) { state.withLock { $0.violations.append(violation) } }

    /// A message is handed out.
    func enter(_ delivery: any Delivery, _ store: InMemorySession) {
        state.withLock { state in
            for other in state.work where other.delivery.payload == delivery.payload {
                if other.isBelieved {
                    let what = "\(delivery.payload) was handed out while another believes to hold its lease"
                    state.violations.append(Violation(.oneLease, what))
                }
            }
            state.work.append(Work(delivery: delivery, store: store, sessionID: store.sessionState.sessionID))
        }
    }

    /// Its lease is over, or is being given up.
    func leave(_ delivery: any Delivery) {
        state.withLock { state in
            state.work.removeAll { $0.delivery.payload == delivery.payload && $0.delivery.token == delivery.token }
        }
    }
}
