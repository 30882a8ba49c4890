import HTTPTypes

/// The media type of a response.
enum MediaType: Hashable {
    case json
    /// JSON as the argument of a JavaScript function.
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

    private static let all = [MediaType.xml, .json, .javascript, .octets]

    /// Chooses the supported media type that the client prefers.
    ///
    /// - Parameter default: the media type for a client that names none, or accepts anything.
    /// - Returns: `nil` when the client accepts none of the supported types.
    init?(accepting headers: HTTPFields, default defaultType: MediaType) {
        let accepted = headers[values: .accept].flatMap { $0.split(separator: ",") }
        if accepted.isEmpty {
            self = defaultType
            return
        }
        var best: (mediaType: MediaType, quality: Double)?
        for range in accepted {
            let parts = range.split(separator: ";").map { $0.filter { !$0.isWhitespace }.lowercased() }
            guard let type = parts.first,
                let mediaType = ["*/*", "application/*"].contains(type)
                    ? defaultType : Self.all.first(where: { $0.contentType == type })
            else { continue }
            let quality = parts.dropFirst().first { $0.hasPrefix("q=") }.flatMap { Double($0.dropFirst(2)) } ?? 1
            if quality > best?.quality ?? 0 { best = (mediaType, quality) }
        }
        guard let best else { return nil }
        self = best.mediaType
    }
}
