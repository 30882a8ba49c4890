import HTTPTypes

/// The trace context of a request, which becomes headers of the messages that it sends: W3C's `traceparent` and
/// `tracestate`, https://www.w3.org/TR/trace-context/.
enum TraceHeaders {
    /// Returns the headers for a message. An invalid context is left out, as the standard says.
    static func messageHeaders(_ fields: HTTPFields) -> [String: String] {
        guard let name = HTTPField.Name("traceparent"), let parent = fields[name], isTraceParent(parent) else {
            return [:]
        }
        var headers = ["traceparent": parent]
        if let name = HTTPField.Name("tracestate"), let state = fields[name], state.utf8.count <= 512,
            state.utf8.allSatisfy({ (0x20..<0x7F).contains($0) })
        {
            headers["tracestate"] = state
        }
        return headers
    }

    /// Whether a value is a version, a trace ID, a span ID and flags, in hexadecimal. A later version may add more.
    private static func isTraceParent(_ text: String) -> Bool {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard text.utf8.count <= 128, parts.count >= 4, parts.prefix(4).map(\.utf8.count) == [2, 32, 16, 2],
            parts[0] != "ff", parts.count == 4 || parts[0] != "00",
            parts[1].contains(where: { $0 != "0" }), parts[2].contains(where: { $0 != "0" })
        else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "-"): true
            default: false
            }
        }
    }
}
