import Foundation
import TestSupport
import Testing
import ZooKeeper

/// Exchanges that were recorded with Apache's own gateway, sent to this one.
@Suite(.timeLimit(.minutes(1)))
struct ReplayTests {
    private struct RequestExecutor: Decodable {
        struct Request: Decodable {
            let method, path: String
            let headers: [String: String]
            let body: String?
        }
        struct Response: Decodable {
            let status: Int
            let contentType, location, body: String?
        }
        let n: Int
        let request: Request
        let response: Response
    }

    /// Where this gateway answers otherwise, on purpose: the faults of the other one.
    private static let differences: [Int: (status: Int, why: String)] = [
        12: (201, "a POST that accepts octets alone is answered with the path"),
        69: (400, "an ephemeral node needs a session"),
        // It was created there, and now it was not.
        83: (400, "a trailing slash"),
        85: (400, "a path with two dots"),
    ]

    @Test func recordedExchangesAreAnsweredAlike() async throws {
        let file = try #require(
            Bundle.module.url(forResource: "exchanges", withExtension: "jsonl", subdirectory: "Recorded"))
        let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
        let exchanges = try lines.map { try JSONDecoder().decode(RequestExecutor.self, from: Data($0.utf8)) }
        #expect(exchanges.count == 63)
        try await withGateway { gateway in
            // The other server's root had this node.
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) {
                _ = try await $0.create("/zookeeper")
            }
            var session = ""
            for exchange in exchanges {
                let request = exchange.request
                let answer = try await gateway(
                    request.method, request.path.replacing("{s1}", with: session), headers: request.headers,
                    body: request.body)
                if let difference = Self.differences[exchange.n] {
                    #expect(answer.status == difference.status, "\(exchange.n): \(difference.why)")
                    continue
                }
                let expected = exchange.response
                if expected.body?.contains("{s1}") == true, session.isEmpty {
                    session = try #require(answer.location?.split(separator: "/").last.map(String.init))
                }
                func normal(_ text: String?) -> String {
                    Self.normal(text ?? "", host: gateway.host, session: session)
                }
                let what: Comment = "\(exchange.n) \(request.method) \(request.path)"
                #expect(answer.status == expected.status, what)
                #expect(answer.contentType == expected.contentType, what)
                #expect(normal(answer.location) == normal(expected.location), what)
                #expect(normal(answer.body) == normal(expected.body), what)
            }
        }
    }

    /// Without what differs from run to run.
    private static func normal(_ text: String, host: String, session: String) -> String {
        var text = text.replacing(host, with: "HOST")
        if !session.isEmpty { text = text.replacing(session, with: "{s1}") }
        text = text.replacing(
            /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/, with: "UUID")
        return text.replacing(/(czxid|mzxid|pzxid|ctime|mtime|cversion)("?[:>])[0-9]+/) { "\($0.1)\($0.2)N" }
    }
}
