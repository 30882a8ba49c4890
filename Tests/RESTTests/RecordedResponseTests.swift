import Foundation
import Testing
import ZooKeeper

@testable import ZooKeeperREST

/// Decodes the recorded responses of Apache's gateway.
struct RecordedResponseTests {
    private struct RecordedExchange: Decodable {
        struct Request: Decodable {
            let method: String
            let path: String
            let headers: [String: String]?
        }
        struct Response: Decodable {
            let status: Int
            let contentType: String?
            let body: String?
        }
        let request: Request
        let response: Response
    }

    @Test("The recorded responses of Apache's gateway can be decoded")
    func recordedResponses() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "GatewayTests/Recorded/exchanges.jsonl")
        var (nodes, paths, children) = (0, 0, 0)
        for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
            let exchange = try JSONDecoder().decode(RecordedExchange.self, from: Data(line.utf8))
            let (request, response) = (exchange.request, exchange.response)
            guard response.contentType == "application/json", [200, 201].contains(response.status),
                request.path.hasPrefix("/znodes/v1"), let body = response.body, !body.isEmpty
            else { continue }
            let received = RESTTransport.Response(status: response.status, body: Array(body.utf8))
            switch request.method {
            case "GET" where request.path.contains("view=children"):
                children += 1
                #expect(received.decoded(as: ChildrenResponse.self) != nil, "\(line)")
            // The store never requests data as UTF-8 text.
            case "GET" where !request.path.contains("dataformat=utf8"), "PUT":
                nodes += 1
                let node = try #require(received.decoded(as: NodeResponse.self), "\(line)")
                #expect(request.method == "PUT" || node.node.data?.count ?? 0 == Int(node.dataLength), "\(line)")
            case "POST":
                paths += 1
                #expect(received.decoded(as: PathResponse.self) != nil, "\(line)")
            default: break
            }
        }
        #expect(nodes >= 5 && paths >= 5 && children >= 2, "\(nodes) \(paths) \(children)")
    }
}
