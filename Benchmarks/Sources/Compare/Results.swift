import Foundation

/// All figures of a run, by system and phase, one for each round.
struct Results: Codable {
    var date: String
    var machine: String
    var figures: [String: [String: [Figures]]] = [:]

    mutating func add(_ system: String, _ all: [Figures]) {
        for one in all { figures[system, default: [:]][one.phase, default: []].append(one) }
    }

    /// Returns the median over the rounds, with the smallest and the largest value.
    func spread(_ system: String, _ phase: String, _ value: (Figures) -> Double? = \.rate) -> Spread? {
        Spread((figures[system]?[phase] ?? []).compactMap(value))
    }

    /// Returns the median of the ratios, where each ratio compares figures of the same round.
    func ratio(
        _ system: String, _ phase: String, to other: String, _ otherPhase: String? = nil,
        _ value: (Figures) -> Double? = \.rate
    ) -> Spread? {
        let mine = (figures[system]?[phase] ?? []).compactMap(value)
        let theirs = (figures[other]?[otherPhase ?? phase] ?? []).compactMap(value)
        return Spread(zip(mine, theirs).map { $0 / $1 })
    }
}

struct Spread {
    let median: Double
    let low: Double
    let high: Double

    init?(_ values: [Double]) {
        let sorted = values.sorted()
        guard let low = sorted.first, let high = sorted.last else { return nil }
        self.low = low
        self.high = high
        median =
            sorted.count % 2 == 1
            ? sorted[sorted.count / 2] : (sorted[sorted.count / 2 - 1] + sorted[sorted.count / 2]) / 2
    }

    func text(_ digits: Int) -> String {
        let number = { (value: Double) in String(format: "%.\(digits)f", value) }
        return "\(number(median)) (\(number(low))–\(number(high)))"
    }
}
