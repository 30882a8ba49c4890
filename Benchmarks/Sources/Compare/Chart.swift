import Foundation

/// A bar chart of the rates, as an SVG picture.
struct Chart {
    let results: Results
    private static let phases = [
        ("put", "put, many at a time", "#4c78a8"), ("take", "take, each acknowledged", "#f58518"),
    ]

    var svg: String {
        let names = results.figures.keys.sorted().filter { results.spread($0, "take") != nil && !$0.contains("ready") }
        let highest = names.flatMap { name in Self.phases.compactMap { results.spread(name, $0.0)?.median } }.max() ?? 1
        let (left, width, row) = (250.0, 440.0, 46.0)
        let height = Double(names.count) * row + 70
        var parts = [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"800\" height=\"\(Int(height))\" font-family=\"sans-serif\" font-size=\"12\">",
            "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
            "<text x=\"10\" y=\"20\" font-size=\"14\">Messages a second, 100 bytes each: \(results.machine), \(results.date)</text>",
        ]
        for (index, (_, label, color)) in Self.phases.enumerated() {
            let x = 10 + Double(index) * 200
            parts.append("<rect x=\"\(x)\" y=\"32\" width=\"12\" height=\"12\" fill=\"\(color)\"/>")
            parts.append("<text x=\"\(x + 18)\" y=\"42\">\(label)</text>")
        }
        for (index, name) in names.enumerated() {
            let top = 60 + Double(index) * row
            parts.append("<text x=\"\(left - 8)\" y=\"\(top + 22)\" text-anchor=\"end\">\(name)</text>")
            for (bar, (phase, _, color)) in Self.phases.enumerated() {
                guard let rate = results.spread(name, phase)?.median else { continue }
                let (y, length) = (top + Double(bar) * 17, max(1, rate / highest * width))
                parts.append("<rect x=\"\(left)\" y=\"\(y)\" width=\"\(length)\" height=\"14\" fill=\"\(color)\"/>")
                parts.append("<text x=\"\(left + length + 5)\" y=\"\(y + 11)\">\(Int(rate))</text>")
            }
        }
        return (parts + ["</svg>", ""]).joined(separator: "\n")
    }
}
