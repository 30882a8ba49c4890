import CoreMetrics
import Synchronization

/// The metrics that the library records in a gateway, for `/metrics` in Prometheus' text format.
///
/// Times and sizes are histograms. A gauge has no line before its first value.
final class PrometheusMetrics: MetricsFactory {
    /// The most combinations of a name and labels. Further ones are not recorded.
    private static let maximumSeries = 10_000

    private struct Key: Hashable {
        let name: String
        let labels: [String: String]
    }
    private let labels: [String: String]
    private let series = Mutex<[Key: Series]>([:])

    /// Creates an empty registry.
    ///
    /// - Parameter labels: are added to those of each metric.
    init(labels: [String: String]) { self.labels = labels }

    /// One name with its labels.
    private final class Series: CounterHandler, RecorderHandler, TimerHandler {
        enum Kind: Sendable { case counter, gauge, histogram(bounds: [Double]) }
        private struct State {
            var sum = 0.0
            var count = 0
            var buckets: [Int]
        }
        let kind: Kind
        private let state: Mutex<State>

        static let seconds: [Double] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
        static let sizes: [Double] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024]

        init(_ kind: Kind) {
            self.kind = kind
            let bounds = if case .histogram(let bounds) = kind { bounds } else { [Double]() }
            state = Mutex(State(buckets: bounds.map { _ in 0 }))
        }

        func increment(by amount: Int64) {
            state.withLock { state in
                state.sum += Double(amount)
                state.count += 1
            }
        }
        func reset() { state.withLock { $0.sum = 0 } }
        func record(_ value: Int64) { record(Double(value)) }
        func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1_000_000_000) }
        func record(_ value: Double) {
            state.withLock { state in
                switch kind {
                case .histogram(let bounds):
                    state.sum += value
                    if let bucket = bounds.firstIndex(where: { value <= $0 }) { state.buckets[bucket] += 1 }
                default: state.sum = value
                }
                state.count += 1
            }
        }

        func lines(_ name: String, _ labels: [String: String], to lines: inout MetricLines) {
            let state = state.withLock { $0 }
            switch kind {
            case .counter: lines.add(name, labels, state.sum)
            case .gauge: if state.count > 0 { lines.add(name, labels, state.sum) }
            case .histogram(let bounds):
                var count = 0
                for (bound, bucket) in zip(bounds, state.buckets) {
                    count += bucket
                    lines.add(name + "_bucket", labels.merging(["le": MetricLines.text(bound)]) { $1 }, Double(count))
                }
                lines.add(name + "_bucket", labels.merging(["le": "+Inf"]) { $1 }, Double(state.count))
                lines.add(name + "_sum", labels, state.sum)
                lines.add(name + "_count", labels, Double(state.count))
            }
        }
    }

    /// Returns the series with this name and these labels; `nil` when there are too many.
    private func find(_ name: String, _ dimensions: [(String, String)], _ kind: Series.Kind) -> Series? {
        let key = Key(name: name, labels: labels.merging(dimensions) { $1 })
        return series.withLock { series in
            if let found = series[key] { return found }
            guard series.count < Self.maximumSeries else { return nil }
            let new = Series(kind)
            series[key] = new
            return new
        }
    }

    // MARK: The factory

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        find(label, dimensions, .counter) ?? NOOPMetricsHandler.instance
    }
    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        find(label, dimensions, aggregate ? .histogram(bounds: Series.sizes) : .gauge) ?? NOOPMetricsHandler.instance
    }
    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        find(label, dimensions, .histogram(bounds: Series.seconds)) ?? NOOPMetricsHandler.instance
    }
    // The series stay, because Prometheus expects that counters do not go back.
    func destroyCounter(_ handler: any CounterHandler) {}
    func destroyRecorder(_ handler: any RecorderHandler) {}
    func destroyTimer(_ handler: any TimerHandler) {}

    // MARK: The text

    /// Returns the lines of several registries, sorted by name, with one type for each name.
    static func text(of registries: [PrometheusMetrics]) -> String {
        let all = registries.flatMap { registry in registry.series.withLock { Array($0) } }
        var lines = MetricLines()
        for (name, series) in Dictionary(grouping: all, by: \.key.name).sorted(by: { $0.key < $1.key }) {
            var values = MetricLines()
            for (key, series) in series { series.lines(name, key.labels, to: &values) }
            guard let first = series.first?.value, !values.text.isEmpty else { continue }
            switch first.kind {
            case .counter: lines.type(name, "counter", nil)
            case .gauge: lines.type(name, "gauge", nil)
            case .histogram: lines.type(name, "histogram", nil)
            }
            lines.append(values)
        }
        return lines.text
    }
}
