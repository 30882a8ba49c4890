import HTTPTypes

/// The form of an answer, as the client accepts it.
enum Format: Hashable {
    case json
    /// JSON as the argument of a function.
    case javascript
    case xml
    case octets

    var contentType: String {
        switch self {
        case .json: "application/json"
        case .javascript: "application/javascript"
        case .xml: "application/xml"
        case .octets: "application/octet-stream"
        }
    }

    private static let all = [Format.xml, .json, .javascript, .octets]

    /// - Parameter standard: the format for a client that names none, or accepts anything.
    /// - Returns: `nil` when nothing that there is would be accepted.
    init?(accepting headers: HTTPFields, standard: Format) {
        let accepted = headers[values: .accept].flatMap { $0.split(separator: ",") }
        if accepted.isEmpty {
            self = standard
            return
        }
        var best: (format: Format, quality: Double)?
        for range in accepted {
            let parts = range.split(separator: ";").map { $0.filter { !$0.isWhitespace }.lowercased() }
            guard let type = parts.first,
                let format = ["*/*", "application/*"].contains(type)
                    ? standard : Self.all.first(where: { $0.contentType == type })
            else { continue }
            let quality = parts.dropFirst().first { $0.hasPrefix("q=") }.flatMap { Double($0.dropFirst(2)) } ?? 1
            if quality > best?.quality ?? 0 { best = (format, quality) }
        }
        guard let best else { return nil }
        self = best.format
    }
}
