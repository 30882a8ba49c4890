import Foundation
import TestSupport
import Testing
import ZooKeeper

@testable import ZooKeeperGateway

/// What is too large, too slow, cut off or no HTTP at all: each is refused, and harms nobody else.
@Suite(.timeLimit(.minutes(1)))
struct AdversarialTests {
    @Test func whatIsTooLargeIsRefused() async throws {
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

    @Test func whatIsTooSlowIsRefused() async throws {
        try await withGateway(configure: {
            $0.bodyTimeout = .milliseconds(300)
            $0.idleTimeout = .milliseconds(1_000)
        }) { gateway in
            let slow = "PUT /znodes/v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nonly this"
            #expect(try await gateway.raw(slow).hasPrefix("HTTP/1.1 408"))
            // A head that never ends, and nothing at all: closed when it is idle.
            for bytes in ["GET /znodes/v1/ HTTP/1.1\r\nHost:", ""] {
                let start = ContinuousClock.now
                _ = try await gateway.raw(bytes, within: .seconds(10))
                #expect(ContinuousClock.now - start < .seconds(8))
            }
            #expect(try await gateway("GET", "/znodes/v1/").status == 200)
        }
    }

    @Test(arguments: [
        "\r\n\r\n", "GET\r\n\r\n", "nonsense", "GET / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}",
        "GET /znodes/v1/ HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        "GET /znodes/v1/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /znodes/v1/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzz\r\n",
        "GET /znodes/v1/ HTTP/1.1\r\nHost: h<script>\r\n\r\n", "GET http://[ HTTP/1.1\r\nHost: h\r\n\r\n",
    ])
    func whatIsNoRequestIsRefused(bytes: String) async throws {
        try await withGateway(configure: { $0.idleTimeout = .milliseconds(500) }) { gateway in
            let answer = try await gateway.raw(bytes)
            #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 4"), "\(answer)")
            #expect(!answer.contains("<script>"))
            #expect(try await gateway("GET", "/znodes/v1/").status == 200)
        }
    }

    @Test func moreSessionsOrRequestsThanAllowedAreRefused() async throws {
        try await withGateway(configure: {
            $0.maximumSessions = 2
            $0.maximumRequests = 2
            $0.bodyTimeout = .seconds(2)
        }) { gateway in
            for status in [201, 201, 503] { #expect(try await gateway.json("POST", "/sessions/v1").status == status) }
            // Two are at work as long as the rest of their bodies does not come.
            let slow = "PUT /znodes/v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nonly this"
            var waiting: [Task<String, any Error>] = []
            while try await gateway("GET", "/znodes/v1/").status == 200 {
                waiting.append(Task { try await gateway.raw(slow) })
            }
            var answers: Set<String> = []
            for task in waiting { answers.insert(String(try await task.value.prefix(12))) }
            #expect(answers.contains("HTTP/1.1 408") && answers.isSubset(of: ["HTTP/1.1 408", "HTTP/1.1 503"]))
            #expect(try await gateway("GET", "/znodes/v1/").status == 200)
        }
    }

    @Test func anAnswerToHEADHasNoBody() async throws {
        try await withGateway(configure: { $0.idleTimeout = .milliseconds(500) }) { gateway in
            let requests = ["/", "/znodes/v1/nope", "/health/live"].map { "HEAD \($0) HTTP/1.1\r\nHost: h\r\n\r\n" }
            let answers = try await gateway.raw(requests.joined())
            let lines = answers.split(separator: "\r\n\r\n")
            #expect(lines.count == 3 && lines.allSatisfy { $0.hasPrefix("HTTP/1.1 ") }, "\(answers)")
        }
    }

    /// A client that sends a byte now and then keeps a connection no longer than any other client.
    @Test("A head or a body that trickles in does not hold its connection")
    func whatTricklesIsEnded() async throws {
        try await withGateway(configure: {
            $0.bodyTimeout = .milliseconds(300)
            $0.idleTimeout = .seconds(2)
        }) { gateway in
            let body = "PUT /znodes/v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"
            let late = try await gateway.trickle(body, within: .seconds(15))
            #expect(late.isClosed && late.text.hasPrefix("HTTP/1.1 408"), "\(late)")
            // It is refused at once, and goes on.
            let refused = try await gateway.trickle(
                body.replacing("Host: h", with: "Host: evil.example"), within: .seconds(15))
            #expect(refused.isClosed && refused.text.hasPrefix("HTTP/1.1 421"), "\(refused)")
            let head = try await gateway.trickle("GET /znodes/v1/ HTTP/1.1\r\nHost: h\r\nX: ", within: .seconds(15))
            #expect(head.isClosed && head.text.isEmpty, "\(head)")
        }
    }

    @Test("HTTP/1.1 needs one host, HTTP/1.0 none")
    func hostsAreAskedFor() async throws {
        try await withGateway { gateway in
            for hosts in ["", "Host: h\r\nHost: h\r\n", "Host: \r\n"] {
                let refused = try await gateway.raw("GET /znodes/v1/ HTTP/1.1\r\n\(hosts)Connection: close\r\n\r\n")
                #expect(refused.hasPrefix("HTTP/1.1 400"), "\(hosts): \(refused)")
            }
            let old = try await gateway.raw("GET /znodes/v1/ HTTP/1.0\r\nConnection: close\r\n\r\n")
            #expect(old.hasPrefix("HTTP/1.1 200") && old.contains("http://\(gateway.host)/znodes/v1/"), "\(old)")
        }
    }

    @Test("A transfer coding that cannot be decoded is 501")
    func codingsAreRefused() async throws {
        try await withGateway { gateway in
            for (coding, status) in [
                ("gzip", 501), ("gzip, chunked", 501), ("identity", 501), ("Chunked", 201),
            ] {
                let answer = try await gateway.raw(
                    "POST /queues/v1/q/messages HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \(coding)\r\n"
                        + "Connection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n")
                #expect(answer.hasPrefix("HTTP/1.1 \(status)"), "\(coding): \(answer)")
            }
        }
    }

    @Test func settingsOutsideTheirLimitsAreRefused() throws {
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
