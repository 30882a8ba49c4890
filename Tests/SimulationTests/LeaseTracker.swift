import QueueHistory
import Synchronization
import ZooKeeper
import ZooKeeperTestKit

/// Tracks which consumer works on which message, and reports a message whose lease two consumers believe to hold.
final class LeaseTracker: Sendable {
    private struct Work: Sendable {
        let delivery: any Delivery
        let store: InMemorySession
        let sessionID: Int64

        /// Whether the consumer believes to hold the lease. A stopped or dead process does not count, and a process
        /// with another session knows that its lease is lost.
        var believesLease: Bool {
            delivery.isHeld && !store.isPaused && store.sessionState.phase != .closed
                && store.sessionState.sessionID == sessionID
        }
    }
    private let state = Mutex<(work: [Work], violations: [Violation])>(([], []))

    var violations: [Violation] { state.withLock { $0.violations } }

    func report(_ violation: Violation) { state.withLock { $0.violations.append(violation) } }

    /// Records that a message is handed out.
    func begin(_ delivery: any Delivery, _ store: InMemorySession) {
        state.withLock { state in
            for other in state.work where other.delivery.payload == delivery.payload {
                if other.believesLease {
                    let detail = "\(delivery.payload) was handed out while another consumer believes to hold its lease"
                    state.violations.append(Violation(.oneLease, detail))
                }
            }
            state.work.append(Work(delivery: delivery, store: store, sessionID: store.sessionState.sessionID))
        }
    }

    /// Records that a lease has ended, or that its consumer is giving it up.
    func end(_ delivery: any Delivery) {
        state.withLock { state in
            state.work.removeAll { $0.delivery.payload == delivery.payload && $0.delivery.token == delivery.token }
        }
    }
}
