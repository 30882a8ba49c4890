import Simulation
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// The attributes of a queue, which apply to every process.
@Suite(.timeLimit(.minutes(2)))
struct AttributeTests {
    @Test("createIfNeeded stores the attributes of a new queue and leaves those of an existing one")
    func creation() async throws {
        try await withTestQueue { client, queue in
            let attributes = QueueAttributes(
                maximumDeliveries: 5, redeliveryDelay: .milliseconds(1_500), deduplicationWindow: .seconds(60),
                maximumBatchSize: 64, capacity: .init(messages: 7, bytes: 1_000_000), sequenceRolloverThreshold: 99)
            try await queue.createIfNeeded(attributes)
            try await queue.createIfNeeded(.init(maximumDeliveries: 6))
            #expect(try await MessageQueue(client).attributes() == attributes)
            let data = String(decoding: try await client.get("/queue/settings").data ?? [], as: UTF8.self)
            #expect(
                data == """
                    id-retention-milliseconds=60000
                    maximum-bytes=1000000
                    maximum-deliveries=5
                    maximum-messages=7
                    messages-per-node=64
                    redelivery-delay-milliseconds=1500
                    rollover-threshold=99

                    """)
        }
    }

    @Test("createIfNeeded creates a queue even when `createIfMissing` is false")
    func explicitCreation() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store, createIfMissing: false)
        await expect(.queueNotFound) { try await QueueProducer(queue).send("x") }
        try await queue.createIfNeeded()
        try await QueueProducer(queue).send("x")
        #expect(try await queue.statistics().ready == 1)
    }

    @Test("An update keeps the attributes and the unknown lines that it does not change")
    func update() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store)
        try await queue.createIfNeeded(.init(maximumDeliveries: 5))
        let data = try await store.get("/queue/settings").data ?? []
        _ = try await store.set("/queue/settings", data: data + Array("from=tomorrow\n".utf8), version: nil)
        let updated = try await queue.update { $0.capacity = .init(messages: 3) }
        #expect(updated.maximumDeliveries == 5 && updated.capacity == .init(messages: 3))
        #expect(try await queue.attributes() == updated)
        try await queue.update { $0 = .init() }
        #expect(try await store.get("/queue/settings").data == Array("from=tomorrow\n".utf8))
    }

    @Test(
        "An invalid attribute is rejected before anything is written",
        arguments: [
            QueueAttributes(maximumDeliveries: 0), .init(redeliveryDelay: .seconds(-1)),
            .init(redeliveryDelay: .seconds(1e15)), .init(deduplicationWindow: .zero), .init(maximumBatchSize: 0),
            .init(maximumBatchSize: 901), .init(capacity: .init(messages: 0)), .init(capacity: .init(bytes: -1)),
            .init(sequenceRolloverThreshold: 0), .init(sequenceRolloverThreshold: 2_000_000_001),
        ])
    func invalidAttribute(_ attributes: QueueAttributes) async throws {
        let zookeeper = InMemoryZooKeeper()
        let queue = try MessageQueue(store: zookeeper.connect())
        await expect(.invalidArgument) { try await queue.createIfNeeded(attributes) }
        #expect(zookeeper.nodes["/queue"] == nil)
        await expect(.invalidArgument) { try await queue.update { $0 = attributes } }
        #expect(try await queue.attributes() == QueueAttributes())
    }

    @Test("An invalid stored attribute reads as its default")
    func invalidStoredValues() {
        let data = """
            maximum-deliveries=0
            messages-per-node=5000
            redelivery-delay-milliseconds=-1
            id-retention-milliseconds=99999999999999999999
            maximum-messages=many
            rollover-threshold=0
            """
        #expect(QueueAttributes(Array(data.utf8)) == QueueAttributes())
    }

    @Test("An update is applied at most once, whichever request fails", arguments: Fault.allCases)
    func faults(_ fault: Fault) throws {
        for number in 1...12 {
            let simulation = Simulation(.fixed)
            let zookeeper = simulation.zookeeper
            let (result, stored) = try simulation.run {
                try await MessageQueue(store: zookeeper.connect("creator")).createIfNeeded(.init(maximumDeliveries: 5))
                let store = zookeeper.connect(faults: { $0.number == number ? fault : nil })
                let queue = try MessageQueue(store: store)
                let result = await Result { try await queue.update { $0.maximumDeliveries += 1 } }
                return (result, try await MessageQueue(store: zookeeper.connect("reader")).attributes())
            }
            switch result {
            case .success(let updated): #expect(updated.maximumDeliveries == 6 && stored == updated)
            case .failure(let error as QueueError):
                #expect([QueueError.Code.outcomeUnknown, .timedOut].contains(error.code), "\(error)")
                #expect((5...6).contains(stored.maximumDeliveries))
            case .failure(let error): Issue.record("request \(number): \(error)")
            }
        }
    }
}

extension Result where Failure == any Error {
    fileprivate init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
