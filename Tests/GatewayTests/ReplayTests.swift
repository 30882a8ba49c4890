import Foundation
import TestSupport
import Testing
import ZooKeeper

/// Sends requests that were recorded with Apache's gateway to this one, and compares the responses.
@Suite(.timeLimit(.minutes(1)))
struct ReplayTests {
    private struct RecordedExchange: Decodable {
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

    /// The exchanges in which this gateway deviates on purpose, because Apache's gateway is at fault.
    private static let differences: [Int: (status: Int, reason: String)] = [
        12: (201, "A POST that accepts only octets returns the path."),
        69: (400, "An ephemeral node requires a session."),
        83: (400, "A path must not end with a slash."),
        85: (400, "A path must not contain two dots."),
    ]

    @Test("Recorded requests get the responses that Apache's gateway sent")
    func recordedExchanges() async throws {
        let file = try #require(
            Bundle.module.url(forResource: "exchanges", withExtension: "jsonl", subdirectory: "Recorded"))
        let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
        let exchanges = try lines.map { try JSONDecoder().decode(RecordedExchange.self, from: Data($0.utf8)) }
        #expect(exchanges.count == 63)
        try await withGateway { gateway in
            // The recording server's root had this node.
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) {
                _ = try await $0.create("/zookeeper")
            }
            var session = ""
            for exchange in exchanges {
                let request = exchange.request
                let response = try await gateway(
                    request.method, request.path.replacing("{s1}", with: session), headers: request.headers,
                    body: request.body)
                if let difference = Self.differences[exchange.n] {
                    #expect(response.status == difference.status, "\(exchange.n): \(difference.reason)")
                    continue
                }
                let expected = exchange.response
                if expected.body?.contains("{s1}") == true, session.isEmpty {
                    session = try #require(response.location?.split(separator: "/").last.map(String.init))
                }
                func normalized(_ text: String?) -> String {
                    Self.normalized(text ?? "", host: gateway.host, session: session)
                }
                let label: Comment = "\(exchange.n) \(request.method) \(request.path)"
                #expect(response.status == expected.status, label)
                #expect(response.contentType == expected.contentType, label)
                #expect(normalized(response.location) == normalized(expected.location), label)
                #expect(normalized(response.body) == normalized(expected.body), label)
            }
        }
    }

    /// Replaces the values that differ from run to run.
    private static func normalized(_ text: String, host: String, session: String) -> String {
        var text = text.replacing(host, with: "HOST")
        if !session.isEmpty { text = text.replacing(session, with: "{s1}") }
        text = text.replacing(
            /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/, with: "UUID")
        return text.replacing(/(czxid|mzxid|pzxid|ctime|mtime|cversion)("?[:>])[0-9]+/) { "\($0.1)\($0.2)N" }
    }
}
