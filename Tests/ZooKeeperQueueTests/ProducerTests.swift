import Simulation
import Synchronization
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperServer
import ZooKeeperTestKit

@testable import ZooKeeperQueue

@Suite(.timeLimit(.minutes(2)))
struct ProducerTests {
    @Test("Messages are stored and delivered in order")
    func order() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            let first = try await producer.send("one")
            #expect(first.nodeName == "item-100-0000000000")
            let receipts = try await producer.send(contentsOf: [OutgoingMessage("two"), OutgoingMessage("three")])
            #expect(receipts.map(\.nodeName) == ["item-100-0000000001", "item-100-0000000002"])
            await producer.close()
            #expect(try await queue.drain() == ["one", "two", "three"])
            try await queue.expectEmptyTree()
        }
    }

    @Test("Each of many concurrent sends gets its own receipt")
    func concurrentSends() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            let names = try await withThrowingTaskGroup(of: (Int, String?).self) { group in
                for index in 0..<2_000 { group.addTask { (index, try await producer.send("\(index)").nodeName) } }
                return try await group.reduce(into: [Int: String]()) { $0[$1.0] = $1.1 }
            }
            #expect(Set(names.values).count == 2_000)
            for (index, name) in names.prefix(50) {
                #expect(try await client.get("/queue/items/\(name)").data == Array("\(index)".utf8))
            }
            await producer.close()
        }
    }

    @Test("Messages are delivered by priority, with their headers")
    func prioritiesAndHeaders() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send("late", priority: 999)
            try await producer.send("normal")
            try await producer.send("urgent", priority: 0, headers: ["trace": "abc", "empty": ""])
            await producer.close()
            // Without headers the node holds exactly the payload.
            #expect(try await client.get("/queue/items/item-100-0000000001").data == Array("normal".utf8))
            var headers: [[String: String]] = []
            let payloads = try await queue.drain {
                headers.append($0.headers)
                try await $0.acknowledge()
            }
            #expect(payloads == ["urgent", "normal", "late"])
            #expect(headers == [["trace": "abc", "empty": ""], [:], [:]])
        }
    }

    @Test("An empty payload is delivered")
    func emptyPayload() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send([UInt8]())
            await producer.close()
            #expect(try await queue.drain() == [""])
            try await queue.expectEmptyTree()
        }
    }

    @Test("Invalid arguments are rejected before anything is sent")
    func invalidArguments() async throws {
        let client = try ZooKeeperClient(configuration: .init(servers: "127.0.0.1:1"))
        let queue = try MessageQueue(client)
        let producer = QueueProducer(queue)
        await expect(.invalidArgument) { try await producer.send("x", priority: 1_000) }
        await expect(.invalidArgument) { try await producer.send("x", priority: -1) }
        await expect(.payloadTooLarge) { try await producer.send([UInt8](repeating: 0, count: 600_000)) }
        await expect(.payloadTooLarge) {
            try await producer.send("x", headers: ["h": String(repeating: "y", count: 600_000)])
        }
        await expect(.invalidArgument) {
            try await producer.send("x", headers: [String(repeating: "n", count: 70_000): ""])
        }
        #expect(client.sessionState.phase == .connecting)
        #expect(throws: QueueError.self) { try MessageQueue(client, path: "queue") }
        #expect(throws: QueueError.self) { try MessageQueue(client, path: "/") }
        #expect(throws: QueueError.self) { try MessageQueue(client, path: "/a//b") }
        await expect(.invalidArgument) {
            try await MessageQueue(client).createIfNeeded(.init(maximumDeliveries: 0))
        }
        await producer.close()
        await client.close()
    }

    @Test("The largest payload is stored")
    func largestPayload() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            let payload = [UInt8](repeating: 7, count: producer.maximumPayloadSize)
            try await producer.send(contentsOf: [
                OutgoingMessage(payload), OutgoingMessage(payload), OutgoingMessage("small"),
            ])
            await producer.close()
            var sizes: [Int] = []
            try await queue.drain {
                sizes.append($0.payload.count)
                try await $0.acknowledge()
            }
            #expect(sizes == [payload.count, payload.count, 5])
        }
    }

    @Test("Batches fit below a long chroot, and with a long access control list")
    func longChroot() async throws {
        try await withTestQueue { client, _ in
            let long = "/" + String(repeating: "c", count: 200)
            try await client.create(long)
            let acl = [ACL.world(.all)] + (0..<20).map { ACL(.read, scheme: "ip", id: "10.0.0.\($0)") }
            let configuration = try ZooKeeperConfiguration(
                servers: client.address + long, defaultACL: acl, maximumRequestSize: 20_000)
            try await ZooKeeperClient.withClient(configuration: configuration) { below in
                let queue = try MessageQueue(below)
                let producer = QueueProducer(queue)
                let largest = [UInt8](repeating: 1, count: producer.maximumPayloadSize)
                try await producer.send(
                    contentsOf: (0..<300).map { OutgoingMessage("\($0)", headers: ["n": "x"]) } + [
                        OutgoingMessage(largest)
                    ])
                await producer.close()
                var count = 0
                try await queue.drain {
                    count += 1
                    if $0.deliveryCount == 1 { try await $0.requeue() } else { try await $0.acknowledge() }
                }
                #expect(count == 602)
                try await queue.expectEmptyTree()
            }
        }
    }

    @Test("A send to a missing queue fails when the producer may not create it")
    func missingQueue() async throws {
        try await withTestQueue(createIfMissing: false) { client, queue in
            let producer = QueueProducer(queue)
            await expect(.queueNotFound) { try await producer.send("x") }
            #expect(try await client.exists("/queue") == nil)
            try await client.create("/queue")
            try await producer.send("x")
            await producer.close()
        }
    }

    @Test("A send without permission fails")
    func missingPermission() async throws {
        try await withTestQueue { client, queue in
            try await client.create("/queue", acl: [.world(.read)])
            let producer = QueueProducer(queue)
            await expect(.permissionDenied) { try await producer.send("x") }
            await producer.close()
        }
    }

    @Test("A send times out when no server can be reached")
    func unreachableServers() async throws {
        let configuration = try ZooKeeperConfiguration(servers: "127.0.0.1:1", requestTimeout: .milliseconds(200))
        try await ZooKeeperClient.withClient(configuration: configuration) { client in
            let producer = QueueProducer(
                try MessageQueue(client), configuration: .init(sendTimeout: .milliseconds(300)))
            await expect(.timedOut) { try await producer.send("x") }
            await producer.close()
        }
    }

    @Test("A cancelled send is withdrawn while it waits")
    func cancelledSend() async throws {
        let configuration = try ZooKeeperConfiguration(servers: "127.0.0.1:1", requestTimeout: .seconds(2))
        try await ZooKeeperClient.withClient(configuration: configuration) { client in
            let producer = QueueProducer(
                try MessageQueue(client), configuration: .init(sendTimeout: .milliseconds(300)))
            let task = Task { try await producer.send("x") }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            await client.close()
            await producer.close()
            await expect(.closed) { try await producer.send("y") }
        }
    }

    @Test("Sends survive expired sessions, and stay in order")
    func expiredSessions() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            let sending = Task {
                for index in 0..<300 { try await producer.send("\(index)") }
            }
            for _ in 0..<3 { try await expireSession(of: client) }
            try await sending.value
            await producer.close()
            #expect(try await queue.drain() == (0..<300).map(String.init))
        }
    }

    @Test("Sends survive server restarts, and are stored once")
    func serverRestarts() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            try await ZooKeeperClient.withClient(configuration: .init(servers: ensemble.connectString)) { client in
                let queue = try MessageQueue(client)
                let producer = QueueProducer(queue)
                let sending = Task {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for index in 0..<400 { group.addTask { try await producer.send("\(index)") } }
                        for index in 400..<600 { try await producer.send("\(index)") }
                        try await group.waitForAll()
                    }
                }
                for _ in 0..<2 {
                    await ensemble.kill(0)
                    try await ensemble.start(0)
                }
                try await sending.value
                await producer.close()
                let payloads = try await queue.drain()
                #expect(payloads.count == 600 && Set(payloads).count == 600)
                try await queue.expectEmptyTree()
            }
        }
    }

    @Test("resume resolves an unknown outcome")
    func unknownOutcome() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            let configuration = try ZooKeeperConfiguration(
                servers: ensemble.connectString, sessionTimeout: .seconds(10), requestTimeout: .seconds(3))
            try await ZooKeeperClient.withClient(configuration: configuration) { client in
                let queue = try MessageQueue(client)
                let producer = QueueProducer(queue, configuration: .init(sendTimeout: .seconds(2)))
                try await producer.send("first")
                await ensemble.pause(0)
                let error = await #expect(throws: QueueError.self) { try await producer.send("second") }
                #expect(error?.code == .outcomeUnknown)
                let send = try #require(error?.unresolvedSend)
                async let third = producer.send("third")
                await ensemble.resume(0)
                try await producer.resume(send)
                _ = try? await third
                await expect(.notFound) { try await producer.resume(send) }
                await producer.close()
                let payloads = try await queue.drain()
                #expect(payloads == ["first", "second"] || payloads == ["first", "second", "third"])
            }
        }
    }

    @Test("A producer whose node was removed creates another")
    func removedNode() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send("one")
            for name in try await client.children(of: "/queue/producers").names {
                try await client.delete("/queue/producers/\(name)")
            }
            try await producer.send("two")
            await producer.close()
            #expect(try await queue.drain() == ["one", "two"])
        }
    }

    @Test("A closed producer leaves no node behind when the connection was lost meanwhile", arguments: Fault.allCases)
    func faultAtClosing(fault: Fault) throws {
        let simulation = Simulation(.fixed)
        let zookeeper = simulation.zookeeper
        let left = try simulation.run {
            let isFirst = Mutex(true)
            let store = zookeeper.connect(faults: { request in
                guard request.request == "delete", request.path.hasPrefix("/queue/producers/") else { return nil }
                return isFirst.withLock { isFirst in
                    defer { isFirst = false }
                    return isFirst ? fault : nil
                }
            })
            let producer = QueueProducer(try MessageQueue(store: store))
            try await producer.send("x")
            await producer.close()
            let left = try await store.children(of: "/queue/producers").names
            store.crash()
            return left
        }
        #expect(left == [])
    }
}
