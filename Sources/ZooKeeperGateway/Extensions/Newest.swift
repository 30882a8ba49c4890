import Synchronization
import ZooKeeper

/// The state of a node that was seen last.
final class Newest<Element: Sendable>: Sendable {
    private let state = Mutex<Element??>(nil)

    func note(_ element: Element?) { state.withLock { $0 = .some(element) } }

    /// - Throws: when none was seen in time.
    var value: Element? {
        get throws {
            guard let seen = state.withLock({ $0 }) else {
                throw ZooKeeperError(
                    code: .deadlineExceeded, message: "No server answered in time.", path: nil, outcome: .notApplied)
            }
            return seen
        }
    }
}
