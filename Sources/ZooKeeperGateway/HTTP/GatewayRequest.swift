import GatewayExtensions
import HTTPTypes

/// A request as the resources see it: its head is checked, and its body is there.
struct GatewayRequest {
    let method: HTTPRequest.Method
    /// Such as `http://127.0.0.1:9998`.
    let server: String
    /// The path as it was written, still encoded, without the query.
    let rawPath: String
    /// The path and the query as they were written.
    let rawURL: String
    /// The query's parameters, decoded; of several of one name the first.
    let query: [String: String]
    let headers: HTTPFields
    var body: [UInt8] = []

    /// - Throws: an ``Answer`` that says what is wrong.
    init(_ head: HTTPRequest, scheme: String) throws(Answer) {
        let url = head.path ?? "/"
        guard url.hasPrefix("/"), url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { throw Answer(.badRequest) }
        let authority = head.authority ?? "localhost"
        // It comes back in answers.
        guard authority.utf8.allSatisfy({ URLText.isPlain($0) || "[]:".utf8.contains($0) }) else {
            throw Answer(.badRequest)
        }
        let parts = url.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var query: [String: String] = [:]
        for pair in parts.dropFirst().first?.split(separator: "&") ?? [] {
            let words = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = URLText.decoded(words[0], plusIsSpace: true),
                let value = URLText.decoded(words.count > 1 ? words[1] : "", plusIsSpace: true)
            else { throw Answer(.badRequest) }
            if query[name] == nil { query[name] = value }
        }
        self.query = query
        method = head.method
        server = "\(scheme)://\(authority)"
        rawPath = String(parts[0])
        rawURL = url
        headers = head.headerFields
    }

    /// The address of the resource, without the query.
    var address: String { server + rawPath }

    func flag(_ name: String) -> Bool { query[name] == "true" }
}
