import Synchronization
import ZooKeeper

/// The latest state that was seen of a node.
final class LatestValue<Element: Sendable>: Sendable {
    private let state = Mutex<Element??>(nil)

    func update(_ element: Element?) { state.withLock { $0 = .some(element) } }

    /// The latest state.
    ///
    /// - Throws: ``ZooKeeperError`` when no state was seen.
    var value: Element? {
        get throws {
            guard let latest = state.withLock({ $0 }) else {
                throw ZooKeeperError(
                    code: .deadlineExceeded, message: "No server responded in time. Try again.", path: nil,
                    outcome: .notApplied)
            }
            return latest
        }
    }
}
