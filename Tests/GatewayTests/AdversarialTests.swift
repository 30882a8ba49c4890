import Foundation
import TestSupport
import Testing
import ZooKeeper

@testable import ZooKeeperGateway

/// Sends requests that are too large, too slow or not HTTP. Each is refused, and the gateway continues to serve.
@Suite(.timeLimit(.minutes(1)))
struct AdversarialTests {
    @Test("A body, a URL or a header above its limit is refused")
    func sizeLimits() async throws {
        try await withGateway(configure: {
            $0.maximumBodySize = 1_000
            $0.maximumURLSize = 500
            $0.maximumHeaderSize = 2_000
        }) { gateway in
            #expect(
                try await gateway.json("POST", "/znodes/v1/?name=a", body: String(repeating: "x", count: 1_000)).status
                    == 201)
            #expect(
                try await gateway.json("PUT", "/znodes/v1/a", body: String(repeating: "x", count: 1_001)).status == 413)
            let chunked = "PUT /znodes/v1/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            let chunks = String(repeating: "64\r\n\(String(repeating: "x", count: 100))\r\n", count: 11) + "0\r\n\r\n"
            #expect(try await gateway.raw(chunked + chunks).hasPrefix("HTTP/1.1 413"))
            #expect(try await gateway("GET", "/znodes/v1/" + String(repeating: "x", count: 600)).status == 414)
            let header = String(repeating: "x", count: 3_000)
            let refused = try await gateway.raw("GET /znodes/v1/ HTTP/1.1\r\nHost: h\r\nX: \(header)\r\n\r\n")
            #expect(
                refused.hasPrefix("HTTP/1.1 431") || refused.hasPrefix("HTTP/1.1 400"), "\(refused)")
            #expect(try await gateway("GET", "/znodes/v1/").status == 200)
        }
    }

    @Test("A slow body gets 408, and an idle connection is closed")
    func timeLimits() async throws {
        try await withGateway(configure: {
            $0.bodyTimeout = .milliseconds(300)
            $0.idleTimeout = .milliseconds(1_000)
        }) { gateway in
            let slow = "PUT /znodes/v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nonly this"
            #expect(try await gateway.raw(slow).hasPrefix("HTTP/1.1 408"))
            // A header that never ends, and no bytes at all: the gateway closes the idle connection.
            for bytes in ["GET /znodes/v1/ HTTP/1.1\r\nHost:", ""] {
                let start = ContinuousClock.now
                _ = try await gateway.raw(bytes, within: .seconds(10))
                #expect(ContinuousClock.now - start < .seconds(8))
            }
            #expect(try await gateway("GET", "/znodes/v1/").status == 200)
        }
    }

    @Test(
        "Bytes that are not a valid request are refused",
        arguments: [
            "\r\n\r\n", "GET\r\n\r\n", "nonsense", "GET / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}",
            "GET /znodes/v1/ HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
            "GET /znodes/v1/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "POST /znodes/v1/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzz\r\n",
            "GET /znodes/v1/ HTTP/1.1\r\nHost: h<script>\r\n\r\n", "GET http://[ HTTP/1.1\r\nHost: h\r\n\r\n",
        ])
    func malformedRequest(bytes: String) async throws {
        try await withGateway(configure: { $0.idleTimeout = .milliseconds(500) }) { gateway in
            let response = try await gateway.raw(bytes)
            #expect(response.isEmpty || response.hasPrefix("HTTP/1.1 4"), "\(response)")
            #expect(!response.contains("<script>"))
            #expect(try await gateway("GET", "/znodes/v1/").status == 200)
        }
    }

    @Test("Sessions and requests above their limits get 503")
    func countLimits() async throws {
        try await withGateway(configure: {
            $0.maximumSessions = 2
            $0.maximumRequests = 2
            $0.bodyTimeout = .seconds(2)
        }) { gateway in
            for status in [201, 201, 503] { #expect(try await gateway.json("POST", "/sessions/v1").status == status) }
            // Requests stay in progress while the rest of their bodies does not arrive.
            let slow = "PUT /znodes/v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nonly this"
            var waiting: [Task<String, any Error>] = []
            while try await gateway("GET", "/znodes/v1/").status == 200 {
                waiting.append(Task { try await gateway.raw(slow) })
            }
            var responses: Set<String> = []
            for task in waiting { responses.insert(String(try await task.value.prefix(12))) }
            #expect(responses.contains("HTTP/1.1 408") && responses.isSubset(of: ["HTTP/1.1 408", "HTTP/1.1 503"]))
            #expect(try await gateway("GET", "/znodes/v1/").status == 200)
        }
    }

    @Test("A response to HEAD has no body")
    func headHasNoBody() async throws {
        try await withGateway(configure: { $0.idleTimeout = .milliseconds(500) }) { gateway in
            let requests = ["/", "/znodes/v1/nope", "/health/live"].map { "HEAD \($0) HTTP/1.1\r\nHost: h\r\n\r\n" }
            let responses = try await gateway.raw(requests.joined())
            let lines = responses.split(separator: "\r\n\r\n")
            #expect(lines.count == 3 && lines.allSatisfy { $0.hasPrefix("HTTP/1.1 ") }, "\(responses)")
        }
    }

    @Test("A header or a body that trickles in does not keep its connection open")
    func tricklingRequest() async throws {
        try await withGateway(configure: {
            $0.bodyTimeout = .milliseconds(300)
            $0.idleTimeout = .seconds(2)
        }) { gateway in
            let body = "PUT /znodes/v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"
            let late = try await gateway.trickle(body, within: .seconds(15))
            #expect(late.isClosed && late.text.hasPrefix("HTTP/1.1 408"), "\(late)")
            // The gateway refuses this request at once, but the client keeps sending its body.
            let refused = try await gateway.trickle(
                body.replacing("Host: h", with: "Host: evil.example"), within: .seconds(15))
            #expect(refused.isClosed && refused.text.hasPrefix("HTTP/1.1 421"), "\(refused)")
            let header = try await gateway.trickle("GET /znodes/v1/ HTTP/1.1\r\nHost: h\r\nX: ", within: .seconds(15))
            #expect(header.isClosed && header.text.isEmpty, "\(header)")
        }
    }

    @Test("HTTP/1.1 requires exactly one host, and HTTP/1.0 none")
    func hostHeader() async throws {
        try await withGateway { gateway in
            for hosts in ["", "Host: h\r\nHost: h\r\n", "Host: \r\n"] {
                let refused = try await gateway.raw("GET /znodes/v1/ HTTP/1.1\r\n\(hosts)Connection: close\r\n\r\n")
                #expect(refused.hasPrefix("HTTP/1.1 400"), "\(hosts): \(refused)")
            }
            let old = try await gateway.raw("GET /znodes/v1/ HTTP/1.0\r\nConnection: close\r\n\r\n")
            #expect(old.hasPrefix("HTTP/1.1 200") && old.contains("http://\(gateway.host)/znodes/v1/"), "\(old)")
        }
    }

    @Test("A request with an unsupported transfer coding gets 501")
    func transferCodings() async throws {
        try await withGateway { gateway in
            for (coding, status) in [
                ("gzip", 501), ("gzip, chunked", 501), ("identity", 501), ("Chunked", 201),
            ] {
                let response = try await gateway.raw(
                    "POST /queues/v1/q/messages HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \(coding)\r\n"
                        + "Connection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n")
                #expect(response.hasPrefix("HTTP/1.1 \(status)"), "\(coding): \(response)")
            }
        }
    }

    @Test("Settings outside their limits are refused")
    func settings() throws {
        let zookeeper = try GatewayConfiguration.Endpoint(zookeeper: .init(servers: "h:1"))
        var configuration = GatewayConfiguration(endpoints: [zookeeper])
        for change: (inout GatewayConfiguration) -> Void in [
            { $0.port = 70_000 }, { $0.endpoints = [] }, { $0.endpoints.append($0.endpoints[0]) },
            { $0.endpoints[0].path = "a" }, { $0.endpoints[0].path = "/a/" }, { $0.endpoints[0].path = "/%41" },
            { $0.users = ["a:b": "c"] }, { $0.maximumBodySize = 0 }, { $0.idleTimeout = .zero },
            { $0.allowedHosts = [""] }, { $0.allowedHosts = ["h:80"] },
        ] {
            let before = configuration
            change(&configuration)
            #expect(throws: GatewayError.self) { try Gateway(configuration) }
            configuration = before
        }
        #expect(throws: Never.self) { try Gateway(configuration) }
    }
}
