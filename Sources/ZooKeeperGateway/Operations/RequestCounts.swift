import Synchronization

/// Counts the answered requests by the hundreds digit of their status.
final class RequestCounts: Sendable {
    private let counts = Mutex([Int](repeating: 0, count: 6))

    func count(_ status: Int) { counts.withLock { $0[min(max(status / 100, 0), 5)] += 1 } }

    /// The counts for 2xx to 5xx.
    var byClass: [(name: String, count: Int)] {
        counts.withLock { counts in (2...5).map { ("\($0)xx", counts[$0]) } }
    }
}
