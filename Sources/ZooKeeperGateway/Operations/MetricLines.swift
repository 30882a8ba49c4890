/// Lines in Prometheus' text format.
struct MetricLines {
    private(set) var text = ""

    mutating func type(_ name: String, _ type: String, _ help: String?) {
        if let help { text += "# HELP \(name) \(help)\n" }
        text += "# TYPE \(name) \(type)\n"
    }

    mutating func add(_ name: String, _ labels: [String: String], _ value: Int) {
        add(name, labels, Double(value))
    }

    mutating func add(_ name: String, _ labels: [String: String], _ value: Double) {
        let pairs = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\(Self.escaped($0.value))\"" }
        text += name + (pairs.isEmpty ? "" : "{\(pairs.joined(separator: ","))}") + " \(Self.text(value))\n"
    }

    mutating func append(_ lines: MetricLines) { text += lines.text }

    /// Returns a number, without a fraction if it has none.
    static func text(_ value: Double) -> String { Int64(exactly: value).map { "\($0)" } ?? "\(value)" }

    /// Escapes scalar by scalar, because a quote that is followed by a combining mark is part of another character.
    private static func escaped(_ text: String) -> String {
        text.unicodeScalars.reduce(into: "") { escaped, scalar in
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
    }
}
