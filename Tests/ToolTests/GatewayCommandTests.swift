import Foundation
import HTTPTypes
import HummingbirdTesting
import NIOCore
import NIOPosix
import Subprocess
import SystemPackage
import TestSupport
import Testing
import ZooKeeper

/// Tests `zkq gateway` as a process.
@Suite(.timeLimit(.minutes(1)))
struct GatewayCommandTests {
    /// Sends a request, and returns the status and the body of the response.
    private func get(
        _ path: String, port: Int, authorization: String? = nil, method: HTTPRequest.Method = .get
    ) async throws -> (status: Int, body: String) {
        let client = TestClient(
            host: "127.0.0.1", port: port, configuration: .init(timeout: .seconds(10)),
            eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup.singleton))
        client.connect()
        var headers: HTTPFields = [.accept: "application/json"]
        headers[.authorization] = authorization
        let response = try await client.execute(
            .init(path, method: method, authority: "h", headers: headers, body: nil))
        try await client.shutdown()
        return (response.status.code, response.body.map { String(buffer: $0) } ?? "")
    }

    private func port(_ line: String?) throws -> Int {
        let line = try #require(line)
        #expect(line.hasPrefix("ready http://127.0.0.1:"))
        return try #require(line.split(separator: ":").last.flatMap { Int($0) })
    }

    @Test("A gateway serves requests until SIGTERM, and then exits with success")
    func servesUntilSIGTERM() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "a").isSuccess)
        let result = try await zkq.started("gateway", "--listen", "127.0.0.1:0") { pid, output in
            var lines = output.makeAsyncIterator()
            let port = try port(try await lines.next())
            let items = try await get("/znodes/v1/queue/items?view=children", port: port)
            #expect(items.status == 200 && items.body.contains("\"children\":[\"item-100-0000000000\"]"))
            let version = try await zkq("--version").output.dropFirst("zkq ".count).dropLast()
            let health = try await get("/health", port: port)
            #expect(health.body.contains("\"version\":\"\(version)\""), "\(health.body)")
            kill(pid, SIGTERM)
            #expect(try await lines.next() == nil)
        }
        #expect(result.isSuccess, "\(result.error)")
    }

    @Test("A request that waits for messages does not delay the end of a gateway")
    func endDuringLongPoll() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "a").isSuccess)
        #expect(try await zkq("purge", "--yes").isSuccess)
        let result = try await zkq.started("gateway", "--listen", "127.0.0.1:0") { pid, output in
            var lines = output.makeAsyncIterator()
            let port = try port(try await lines.next())
            let waiting = Task { try await get("/queues/v1/queue/leases?wait=60", port: port, method: .post) }
            try await ZooKeeperClient.withClient(configuration: .init(servers: zkq.address)) { client in
                for try await children in client.childrenUpdates(of: "/queue/consumers")
                where children?.names.isEmpty == false { break }
            }
            kill(pid, SIGTERM)
            try await withDeadline("the gateway to end", within: .seconds(15)) {
                let response = try await waiting.value
                #expect(response.body == "{\"leases\":[]}")
            }
            #expect(try await lines.next() == nil)
        }
        #expect(result.isSuccess, "\(result.error)")
    }

    @Test("A recovery redelivers the messages that a killed gateway had leased")
    func killedGateway() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "--lines", input: "1\n2\n3\n").isSuccess)
        let file = FileManager.default.temporaryDirectory.appending(path: "gateway-\(UUID().uuidString).json").path()
        defer { try? FileManager.default.removeItem(atPath: file) }
        let text = "{\"endpoints\": [{\"servers\": \"\(zkq.address)\", \"sessionTimeoutSeconds\": 1}]}"
        try Data(text.utf8).write(to: URL(filePath: file))
        _ = try await zkq.started("gateway", "--listen", "127.0.0.1:0", "--config", file) { pid, output in
            var lines = output.makeAsyncIterator()
            let port = try port(try await lines.next())
            let taken = try await get("/queues/v1/queue/leases?count=2&seconds=3600", port: port, method: .post)
            #expect(taken.status == 200 && taken.body.contains("\"payload\":\"2\""))
            kill(pid, SIGKILL)
        }
        try await ZooKeeperClient.withClient(configuration: .init(servers: zkq.address)) { client in
            for name in try await client.children(of: "/queue/consumers").names {
                for try await stat in client.statUpdates(of: "/queue/consumers/\(name)/active") where stat == nil {
                    break
                }
            }
        }
        #expect(try await zkq("recover", "--once").output.hasPrefix("recovered 2, redelivered 2"))
        #expect(try await zkq("take", "--wait", "0").output == "1\n2\n3\n")
    }

    @Test("Commands work over a gateway, and fail when no gateway responds")
    func commandsOverAGateway() async throws {
        let zkq = Tool(address: try await TestServer.address())
        let numbers = (1...500).map { "\($0)\n" }.joined()
        _ = try await zkq.started("gateway", "--listen", "127.0.0.1:0") { _, output in
            var lines = output.makeAsyncIterator()
            let rest = Tool(address: "http://127.0.0.1:\(try port(try await lines.next()))")
            let put = try await rest("put", "--lines", input: numbers)
            #expect(put.isSuccess && put.lines.count == 500, "\(put.error)")
            let stats = try await rest("stats")
            #expect(stats.output.contains("ready      500"))
            // The first half is taken over ZooKeeper's own protocol, and the second half over REST.
            let first = try await zkq("take", "--count", "250")
            let second = try await rest("take", "--wait", "0")
            #expect(first.output + second.output == numbers, "\(second.error)")
        }
        let failed = try await Tool(address: "http://127.0.0.1:1")("stats")
        #expect(!failed.isSuccess && failed.error.contains("gateway"), "\(failed.error)")
    }

    @Test("Commands refuse a gateway without transactions, and name the option that allows it")
    func gatewayWithoutTransactions() async throws {
        let zkq = Tool(address: try await TestServer.address())
        let file = FileManager.default.temporaryDirectory.appending(path: "gateway-\(UUID().uuidString).json").path()
        defer { try? FileManager.default.removeItem(atPath: file) }
        let text = "{\"endpoints\": [{\"servers\": \"\(zkq.address)\"}], \"offersExtensions\": false}"
        try Data(text.utf8).write(to: URL(filePath: file))
        _ = try await zkq.started("gateway", "--listen", "127.0.0.1:0", "--config", file) { _, output in
            var lines = output.makeAsyncIterator()
            let rest = Tool(address: "http://127.0.0.1:\(try port(try await lines.next()))")
            let refused = try await rest("put", "a")
            #expect(!refused.isSuccess && refused.output.isEmpty)
            #expect(refused.error.ranges(of: "--at-least-once").count == 1, "\(refused.error)")
            #expect(try await rest("put", "--at-least-once", "a").isSuccess)
        }
    }

    @Test("A gateway at an address in use fails with one line that says so")
    func addressInUse() async throws {
        let zkq = Tool(address: try await TestServer.address())
        _ = try await zkq.started("gateway", "--listen", "127.0.0.1:0") { _, output in
            var lines = output.makeAsyncIterator()
            let port = try port(try await lines.next())
            let second = try await zkq("gateway", "--listen", "127.0.0.1:\(port)")
            #expect(!second.isSuccess && second.output.isEmpty)
            #expect(second.error.contains("The address 127.0.0.1:\(port) is in use"), "\(second.error)")
            #expect(second.error.split(separator: "\n").count == 1, "\(second.error)")
        }
    }

    @Test("A file configures a gateway, and an invalid file is an error without its secrets")
    func configurationFile() async throws {
        let zkq = Tool(address: try await TestServer.address())
        let file = FileManager.default.temporaryDirectory.appending(path: "gateway-\(UUID().uuidString).json").path()
        defer { try? FileManager.default.removeItem(atPath: file) }
        func write(_ text: String) throws { try Data(text.utf8).write(to: URL(filePath: file)) }
        try write(
            """
            {"listen": "127.0.0.1:0", "maximumURLSize": 100, "answerTimeoutSeconds": 5,
             "endpoints": [{"path": "/app", "servers": "\(zkq.address)", "users": {"u": "secret"}}]}
            """)
        _ = try await zkq.started("gateway", "--config", file) { _, output in
            var lines = output.makeAsyncIterator()
            let port = try port(try await lines.next())
            #expect(try await get("/app/znodes/v1/", port: port).status == 401)
            let basic = "Basic " + Data("u:secret".utf8).base64EncodedString()
            #expect(try await get("/app/znodes/v1/", port: port, authorization: basic).status == 200)
            let long = "/app/znodes/v1/" + String(repeating: "x", count: 100)
            #expect(try await get(long, port: port, authorization: basic).status == 414)
        }
        for (text, word) in [
            ("{", "not a JSON object"), ("[]", "not a JSON object"), ("{}", "endpoints is missing"),
            ("{\"endpoints\": [{\"server\": \"secret\"}]}", "unknown key \"server\""),
            ("{\"endpoints\": [{\"servers\": 1}]}", "endpoints.0.servers has the wrong type"),
            ("{\"endpoints\": [{\"servers\": \"h:1\", \"auth\": \"secret\"}]}", "USER:PASSWORD"),
            ("{\"endpoints\": [{\"servers\": \"h:1\"}], \"listen\": \"9998\"}", "HOST:PORT"),
            ("{\"endpoints\": []}", "endpoint."),
        ] {
            try write(text)
            let result = try await zkq("gateway", "--config", file)
            #expect(
                !result.isSuccess && result.output.isEmpty && result.error.contains(word), "\(text): \(result.error)")
            #expect(!result.error.contains("secret"))
        }
        #expect(try await !zkq("gateway", "--config", "/nowhere").isSuccess)
    }
}
