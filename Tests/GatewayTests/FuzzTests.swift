import Foundation
import QueueHistory
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperGateway

/// Sends thousands of almost valid requests. `FUZZ=10000 SEED=7 make test` sends more, and repeats a run.
@Suite(.timeLimit(.minutes(5)))
struct FuzzTests {
    private static let json = "Content-Type: application/json\r\n"

    private static func request(_ line: String, _ headers: String = "", _ body: String = "") -> [UInt8] {
        let length = body.isEmpty ? "" : "Content-Length: \(body.utf8.count)\r\n"
        return Array("\(line) HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\(headers)\(length)\r\n\(body)".utf8)
    }

    private static let seeds = [
        request("GET /znodes/v1/a?view=data&dataformat=utf8", "Accept: application/json\r\n"),
        request("GET /znodes/v1/?view=children&callback=f", "Accept: application/javascript;q=0.5\r\n"),
        request("HEAD /znodes/v1/a"), request("PUT /znodes/v1/a?version=0&null=false", "", "data"),
        request("POST /znodes/v1/?op=create&name=b&sequence=true", "", "data"),
        request("POST /znodes/v1/?op=create&name=e&ephemeral=true&session=00000000-0000-4000-8000-000000000000"),
        request("DELETE /znodes/v1/a?version=-1"), request("POST /sessions/v1?op=create&expire=1"),
        request("PUT /sessions/v1/00000000-0000-4000-8000-000000000000"),
        request(
            "POST /queues/v1/q/messages", json,
            #"{"messages":[{"payload":"x","priority":5,"id":"7","headers":{"k":"v"},"delayMilliseconds":9,"expiresAt":9}]}"#
        ),
        request("POST /queues/v1/q/messages?priority=5", "Idempotency-Key: 7\r\n", "raw"),
        request("POST /queues/v1/q/leases?count=2&wait=0&seconds=1"),
        request("POST /queues/v1/q/leases/00000000-0000-4000-8000-000000000000/acknowledge?token=1"),
        request("GET /queues/v1/q?age=true"), request("GET /queues/v1/q/messages?limit=5"),
        request("POST /queues/v1/q/messages?delayMilliseconds=60000", "", "later"),
        request("POST /queues/v1/q/messages?deliverAt=1", "", "now"), request("GET /queues/v1/q/consumers"),
        request("GET /queues/v1/q/delayed?limit=5"),
        request("DELETE /queues/v1/q/delayed/4000000000000-item-100-0000000000"),
        request("POST /queues/v1/q/delayed/4000000000000-item-100-0000000000/run-now"),
        request("POST /queues/v1/q/dead/item-100-0000000000/redrive"), request("GET /extensions/v1"),
        request("POST /queues/v1/q/consumers/leases/item-100-0000000000/release"),
        request("POST /queues/v1/q/resume", json, #"{"activities":["send"]}"#),
        request(
            "POST /extensions/v1", json,
            #"{"session":"00000000-0000-4000-8000-000000000000","number":1,"call":{"multi":{"operations":[{"delete":{"path":"/a"}}]}}}"#
        ),
        request("GET /metrics"), request("GET /health/ready"), request("GET /openapi.json"),
    ]

    /// Pieces that are inserted at random places.
    private static let pieces = [
        "%00", "%2e%2e%2f", "..%2f..%2foutside", "/../outside", "//", "%", "%zz", "%ff%fe", "\r\n", "\r\nX: y", "\0",
        "\u{FEFF}",
        "{", "}", "\"", "[[[[[[[[[[", "null", "-1", "99999999999999999999", "1e999", "<script>", "💥", "&&==", "?", "#",
        "true",
        "Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n", "Expect: 100-continue\r\n", "ffffffff\r\n", "items",
        "leases",
    ]

    /// Returns one of the seeds with one to four random changes.
    private static func mutated(_ generator: inout SeededGenerator, session: String) -> [UInt8] {
        var bytes = seeds.randomElement(using: &generator) ?? []
        // Half of the requests use a session that exists.
        if let range = bytes.firstRange(of: "00000000-0000-4000-8000-000000000000".utf8), Bool.random(using: &generator)
        {
            bytes.replaceSubrange(range, with: session.utf8)
        }
        for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
            let index = Int.random(in: 0..<bytes.count, using: &generator)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: bytes[index] = UInt8.random(in: .min ... .max, using: &generator)
            case 1: bytes.remove(at: index)
            case 2: bytes.insert(contentsOf: (pieces.randomElement(using: &generator) ?? "").utf8, at: index)
            case 3: bytes.removeLast(bytes.count - index)
            case 4:
                let end = min(bytes.count, index + Int.random(in: 1...20, using: &generator))
                bytes.insert(contentsOf: bytes[index..<end], at: index)
            default:
                let other = seeds.randomElement(using: &generator) ?? []
                bytes.replaceSubrange(index..., with: other.suffix(min(other.count, bytes.count - index)))
            }
        }
        return bytes
    }

    @Test("Mutated requests cause no internal error, no hang, and no change outside the chroot")
    func mutatedRequests() async throws {
        let environment = ProcessInfo.processInfo.environment
        let count = environment["FUZZ"].flatMap { Int($0) } ?? 2_000
        let seed = environment["SEED"].flatMap { UInt64($0) } ?? .random(in: 0 ... .max)
        let servers = try await TestServer.address()
        try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { zookeeper in
            // This node is beside the chroot, where `..` would lead.
            try await zookeeper.create("/chroot")
            try await zookeeper.create("/outside", data: Array("untouched".utf8))
            let before = try await zookeeper.get("/outside").stat
            try await withGateway(
                endpoints: [.init(zookeeper: try .init(servers: servers + "/chroot"))],
                configure: {
                    $0.idleTimeout = .milliseconds(400)
                    $0.bodyTimeout = .milliseconds(400)
                    $0.maximumSessions = 5
                }
            ) { gateway in
                var generator = SeededGenerator(seed: seed)
                let opened = try await gateway.json("POST", "/sessions/v1?op=create&expire=600")
                let session = try #require(opened.fields["id"] as? String)
                let responses = Received()
                let requests = (0..<count).map { _ in Self.mutated(&generator, session: session) }
                try await withThrowingDiscardingTaskGroup { group in
                    for worker in 0..<24 {
                        group.addTask {
                            for request in stride(from: worker, to: requests.count, by: 24).map({ requests[$0] }) {
                                let start = ContinuousClock.now
                                let response = try await gateway.raw(request, within: .seconds(15))
                                if !response.isEmpty { responses.append(".") }
                                let took = start.duration(to: .now)
                                #expect(took < .seconds(14), "Seed \(seed): a request hangs.")
                                let status = String(response.dropFirst(9).prefix(3))
                                let shown = String(decoding: request, as: UTF8.self).debugDescription
                                // Only an unsupported transfer coding may cause 501.
                                let isCoded = shown.lowercased().contains("transfer-encoding")
                                let isGood =
                                    response.isEmpty
                                    || response.hasPrefix("HTTP/1.1 ") && !["500", "502"].contains(status)
                                        && (status != "501" || isCoded)
                                #expect(
                                    isGood, "Seed \(seed): \(shown) got \(response.prefix(300).debugDescription).")
                            }
                        }
                    }
                }
                #expect(responses.text.count > count / 2, "Most requests got no response.")
                let healthy = try await gateway("GET", "/health/ready")
                #expect(healthy.status == 200, "Seed \(seed)")
                let sent = try await gateway("POST", "/queues/v1/after/messages", body: "x")
                #expect(sent.status == 201, "Seed \(seed)")
            }
            let after = try await zookeeper.get("/outside")
            #expect(after.stat == before && after.data == Array("untouched".utf8), "Seed \(seed)")
            let names = try await zookeeper.children(of: "/").names.sorted()
            #expect(names == ["chroot", "outside"], "Seed \(seed)")
        }
    }
}
