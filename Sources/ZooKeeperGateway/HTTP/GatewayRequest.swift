import GatewayProtocol
import HTTPTypes
import ZooKeeper

/// A request as the resources see it: with a checked header, and with its body once that was read.
struct GatewayRequest {
    let method: HTTPRequest.Method
    /// The requested host with its port, such as `127.0.0.1:9998`.
    let host: String
    /// The scheme and the host, such as `http://127.0.0.1:9998`.
    let server: String
    /// The path as the client wrote it, still encoded, without the query.
    let rawPath: String
    /// The path and the query as the client wrote them.
    let rawURL: String
    /// The decoded parameters of the query. When a name appears more than once, the first value counts.
    let query: [ExactString: String]
    let headers: HTTPFields
    var body: [UInt8] = []

    /// - Throws: ``GatewayResponse`` when the request is invalid.
    init(_ head: HTTPRequest, scheme: String) throws(GatewayResponse) {
        let url = head.path ?? "/"
        guard url.hasPrefix("/"), url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw GatewayResponse(.badRequest)
        }
        // A request must have exactly one host, because responses repeat it. A second one is among the other headers.
        guard let authority = head.authority, !authority.isEmpty,
            authority.utf8.allSatisfy({ URLText.isUnreserved($0) || "[]:".utf8.contains($0) }),
            Self.hostName.flatMap({ head.headerFields[$0] }) == nil
        else { throw GatewayResponse(.badRequest) }
        guard Self.canDecode(head.headerFields[values: .transferEncoding]) else {
            throw GatewayResponse(.notImplemented)
        }
        let parts = url.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var query: [ExactString: String] = [:]
        for pair in parts.dropFirst().first?.split(separator: "&") ?? [] {
            let words = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = URLText.decoded(words[0], plusIsSpace: true),
                let value = URLText.decoded(words.count > 1 ? words[1] : "", plusIsSpace: true)
            else { throw GatewayResponse(.badRequest) }
            if query[ExactString(name)] == nil { query[ExactString(name)] = value }
        }
        self.query = query
        method = head.method
        host = authority
        server = "\(scheme)://\(authority)"
        rawPath = String(parts[0])
        rawURL = url
        headers = head.headerFields
    }

    /// The address of the resource, without the query.
    var address: String { server + rawPath }

    func flag(_ name: ExactString) -> Bool { query[name] == "true" }

    var isJSON: Bool {
        (headers[.contentType] ?? "").prefix { $0 != ";" }.lowercased().isIdentical(to: MediaType.json.contentType)
    }

    /// Throws a ``GatewayResponse`` with 400 when the query has a parameter with another name, because that may be a
    /// misspelt one.
    func allowQuery(_ names: Set<ExactString>) throws(GatewayResponse) {
        guard let unknown = query.keys.filter({ !names.contains($0) }).min() else { return }
        throw .problem(.badRequest, "invalidArgument", "The query parameter \(unknown.string) is unknown.")
    }

    private static let hostName = HTTPField.Name("Host")

    /// Returns whether the body can be decoded. The only supported transfer coding is `chunked`.
    private static func canDecode(_ codings: [String]) -> Bool {
        guard let coding = codings.first else { return true }
        return codings.count == 1 && coding.utf8.count == "chunked".utf8.count && coding.lowercased() == "chunked"
    }
}
