import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperREST

/// Tests a queue with a node that cannot be handled, over HTTP, with every kind of such a node in every folder.
@Suite(.timeLimit(.minutes(2)))
struct OddNodeOverHTTPTests {
    /// The first one becomes a dead letter. The others are acknowledged.
    private static let payloads = ["tried", "0", "1", "2"]

    @Test("An odd node blocks neither the clients of the gateway nor a consumer and a recovery over REST")
    func oddNodes() async throws {
        let servers = try await TestServer.address()
        // The longest that the test server allows, because many cases run at once.
        let timeout = Duration.seconds(10)
        try await withGateway(.extensions, servers: servers, sessionTimeout: timeout) { gateway in
            try await withStore(.extensions, at: gateway, configure: { $0.sessionTimeout = timeout }) { store in
                try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { zookeeper in
                    await withTaskGroup(of: Void.self) { group in
                        // All folders at once, because a recovery waits ten seconds for a lock that it cannot delete.
                        for folder in OddNode.Folder.allCases {
                            group.addTask {
                                for node in OddNode.all where node.folder == folder {
                                    await check("gateway", node, zookeeper) { queue in
                                        let address = "\(gateway)/queues/v1\(queue)"
                                        try await expectClientWorks(QueueOverHTTP(address: address))
                                    }
                                    await check("rest", node, zookeeper) { queue in
                                        try await expectQueueWorks(try MessageQueue(store: store, path: queue))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Runs one case with a separate queue. Records an error instead of throwing it, because the other cases must run
    /// too.
    private func check(
        _ interface: String, _ node: OddNode, _ zookeeper: ZooKeeperClient,
        _ body: @escaping @Sendable (_ queue: String) async throws -> Void
    ) async {
        let queue = "/\(interface)-\(node.folder)-\(node.kind)"
        do {
            try await withDeadline(queue) {
                try await plant(node, in: queue, zookeeper)
                try await body(queue)
            }
        } catch {
            Issue.record(error, "\(queue)")
        }
    }

    /// Creates a queue with the odd node, four good messages, and one message that a failed consumer has left.
    private func plant(_ node: OddNode, in path: String, _ zookeeper: ZooKeeperClient) async throws {
        let queue = try MessageQueue(zookeeper, path: path)
        try await queue.prepare()
        for operations in node.transactions(in: path, maximumRequestSize: zookeeper.maximumRequestSize) {
            try await zookeeper.multi(operations)
        }
        let failed = "\(path)/consumers/consumer-0000000009"
        try await zookeeper.multi([
            .create(failed, data: []), .create("\(failed)/item", data: []),
            .create("\(failed)/item/item-100-0000000009", data: Array("left".utf8)),
        ])
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: Self.payloads.map { OutgoingMessage($0, id: "id-\($0)") })
        await producer.close()
    }

    private func expectClientWorks(_ queue: QueueOverHTTP) async throws {
        #expect(try await queue.drain() == Self.payloads, "\(queue.address)")
        _ = try await queue(.POST, "/messages", #"{"messages": [{"payload": "later", "id": "id-later"}]}"#)
        #expect(try await queue(.GET, "/messages").payloads.contains("later"), "\(queue.address)")
        #expect(try await queue(.GET, "/dead").payloads.contains("tried"), "\(queue.address)")
        let counts = try await queue(.GET, "?age=true")
        #expect(counts.ready ?? 0 > 0 && counts.dead ?? 0 > 0 && counts.oldestAgeSeconds != nil, "\(queue.address)")
        #expect(try await queue.drain() == ["later"], "\(queue.address)")
    }

    private func expectQueueWorks(_ queue: MessageQueue) async throws {
        let received = try await queue.drain { message in
            if message.payload == Array("tried".utf8) {
                try await message.deadLetter(reason: "tried")
            } else {
                try await message.acknowledge()
            }
        }
        #expect(received == Self.payloads, "\(queue.path)")
        try await QueueRecovery(queue).recover()
        let peeked = try await queue.peek().map { String(decoding: $0.payload, as: UTF8.self) }
        #expect(peeked.contains("left"), "\(queue.path)")
        let dead = try await queue.deadLetters().map { String(decoding: $0.payload, as: UTF8.self) }
        #expect(dead.contains("tried"), "\(queue.path)")
    }
}

/// A queue of the gateway, as a client over HTTP uses it.
private struct QueueOverHTTP {
    let address: String

    /// The fields of all responses. Each response has some of them.
    struct Response: Decodable {
        struct Message: Decodable {
            var payload, lease, token: String?
        }
        var messages, leases: [Message]?
        var ready, dead: Int?
        var oldestAgeSeconds: Double?

        var payloads: [String] { (messages ?? []).compactMap(\.payload) }
    }

    /// Sends a request.
    ///
    /// - Throws: an error for a status other than 2xx.
    func callAsFunction(_ method: HTTPMethod, _ path: String, _ body: String? = nil) async throws -> Response {
        var request = HTTPClientRequest(url: address + path)
        request.method = method
        if let body {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(string: body))
        }
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
        // A large payload of control characters is six times as long in JSON.
        let bytes = try await response.body.collect(upTo: 8 << 20)
        let status = response.status.code
        try #require((200..<300).contains(status), "\(method) \(path): \(status) \(String(buffer: bytes))")
        if bytes.readableBytes == 0 { return Response() }
        return try JSONDecoder().decode(Response.self, from: Data(Array(buffer: bytes)))
    }

    /// Leases the ready messages, moves "tried" to the dead letters, and acknowledges the others.
    func drain() async throws -> [String] {
        var payloads: [String] = []
        while let leases = try await self(.POST, "/leases?count=10&seconds=300").leases, !leases.isEmpty {
            for message in leases {
                let lease = try #require(message.lease)
                let token = try #require(message.token)
                let payload = try #require(message.payload)
                let action = payload == "tried" ? "dead-letter" : "acknowledge"
                _ = try await self(.POST, "/leases/\(lease)/\(action)?token=\(token)")
                payloads.append(payload)
            }
        }
        return payloads
    }
}
