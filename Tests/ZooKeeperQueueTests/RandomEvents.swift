import Foundation

/// Helpers for the random tests of the state machines.
enum RandomEvents {
    /// The number of random events: `EVENTS=1000000 make test`.
    static let count = ProcessInfo.processInfo.environment["EVENTS"].flatMap(Int.init) ?? 100_000

    /// Returns the transitions in the table below a heading of the article *How it works*.
    static func documentedTransitions(under heading: String) throws -> Set<String> {
        let article = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../Sources/ZooKeeperQueue/Documentation.docc/HowItWorks.md")
        let lines = try String(contentsOf: article, encoding: .utf8).split(separator: "\n")
        guard let start = lines.firstIndex(where: { $0.hasPrefix(heading) }) else { return [] }
        let rows = lines[start...].dropFirst().prefix { !$0.hasPrefix("#") }.filter { $0.contains(" → ") }
        return Set(
            rows.map { row in
                let cells = row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
                return "\(cells[0]): \(cells[1])"
            })
    }
}
