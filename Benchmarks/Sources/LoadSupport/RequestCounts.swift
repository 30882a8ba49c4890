import CoreMetrics
import Synchronization

/// Counts a client's requests by kind, from the client's metrics.
package final class RequestCounts: MetricsFactory {
    private let counts = Mutex<[String: Int]>([:])

    package init() {}

    /// Returns the counts since the last call, and resets them.
    package func take() -> [String: Int] {
        counts.withLock { counts in
            defer { counts = [:] }
            return counts
        }
    }

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        let kind =
            switch label {
            case "zookeeper_client_requests_total": ""
            case "zookeeper_client_failures_total": " failed"
            default: " " + label
            }
        return Handler(name: (dimensions.first?.1 ?? "") + kind, owner: self)
    }
    package func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler { NOOPMetricsHandler.instance }
    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        NOOPMetricsHandler.instance
    }
    package func destroyCounter(_ handler: any CounterHandler) {}
    package func destroyRecorder(_ handler: any RecorderHandler) {}
    package func destroyTimer(_ handler: any TimerHandler) {}

    private final class Handler: CounterHandler {
        let name: String
        let owner: RequestCounts

        init(name: String, owner: RequestCounts) {
            self.name = name
            self.owner = owner
        }
        func increment(by amount: Int64) { owner.counts.withLock { $0[name, default: 0] += Int(amount) } }
        func reset() {}
    }
}
