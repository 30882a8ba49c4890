import Simulation
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// A year of virtual time.
@Suite(.timeLimit(.minutes(5)))
struct LongRunTests {
    private static let day = Duration.seconds(86_400)

    /// Producers and consumers come and go, crash, and lose their sessions. Legacy producers leave messages incomplete.
    /// A recovery runs every three hours. The queue is drained each month.
    @Test("After each month of a year, the drained queue has no unneeded nodes")
    func aYear() throws {
        let simulation = Simulation(.seeded(1), timeLimit: Self.day * 400, jobLimit: 50_000_000)
        let months = try simulation.run { [zookeeper = simulation.zookeeper, clock = simulation.clock] in
            let random = SeededRandom(seed: 1)
            let attributes = QueueAttributes(sequenceRolloverThreshold: 200)
            let isDone = Flag()
            let store = zookeeper.connect("recovery")
            let queue = try MessageQueue(store: store).creating(with: attributes)
            try await queue.prepare()
            let initialNodes = Set(zookeeper.nodes.keys)
            async let recovered: Void = {
                let recovery = QueueRecovery(queue, configuration: .init(incompleteItemAge: .seconds(3_600)))
                while !isDone.isSet {
                    try await recovery.recover()
                    try await clock.sleep(for: .seconds(10_800))
                }
            }()
            var months: [(leftovers: Set<String>, epoch: Int)] = []
            for round in 1...4 * 360 {
                try await Self.produce(zookeeper.connect("producer\(round)"), attributes, random)
                try await Self.consume(zookeeper.connect("consumer\(round)"), attributes, random)
                if random.roll(5) == 0 {
                    _ = try await store.create("/queue/items/item-100-", data: [], mode: .persistentSequential)
                }
                try await clock.sleep(for: Self.day / 4)
                guard round.isMultiple(of: 4 * 30) else { continue }
                // The recovery removes the nodes of the last processes some hours after they have gone.
                try await clock.sleep(for: Self.day)
                try await Self.drain(queue)
                try await clock.sleep(for: Self.day)
                let data = zookeeper.nodes["/queue/epoch"]?.data ?? []
                let epoch = String(decoding: data, as: UTF8.self).prefix { $0 != " " }
                // The folder of ids and two empty buckets may exist.
                let leftovers = Set(zookeeper.nodes.keys).subtracting(initialNodes)
                let buckets = leftovers.filter { $0.hasPrefix("/queue/ids") && $0.split(separator: "/").count < 4 }
                months.append((buckets.count <= 3 ? leftovers.subtracting(buckets) : leftovers, Int(epoch) ?? 0))
            }
            isDone.isSet = true
            try await recovered
            store.close()
            return months
        }
        #expect(months.count == 12)
        for month in months { #expect(month.leftovers.isEmpty, "\(month.leftovers.sorted().prefix(10))") }
        #expect(months.last?.epoch ?? 0 > 10)
    }

    private static func produce(_ store: InMemorySession, _ attributes: QueueAttributes, _ random: SeededRandom)
        async throws
    {
        let producer = QueueProducer(try MessageQueue(store: store).creating(with: attributes))
        for _ in 0...random.roll(4) {
            try await producer.send(OutgoingMessage("x", id: random.roll(2) == 0 ? "\(random.roll(1_000_000))" : nil))
        }
        if random.roll(3) == 0 { return store.crash() }
        await producer.close()
        store.close()
    }

    private static func consume(_ store: InMemorySession, _ attributes: QueueAttributes, _ random: SeededRandom)
        async throws
    {
        let consumer = QueueConsumer(
            try MessageQueue(store: store).creating(with: attributes), configuration: .init(prefetch: 3))
        var messages = consumer.makeAsyncIterator()
        for _ in 0..<random.roll(6) {
            guard let message = try await messages.next(within: .seconds(1)) else { break }
            switch random.roll(10) {
            case 0: return store.crash()
            case 1: store.expire()
            case 2: try? await message.requeue()
            default: try? await message.acknowledge()
            }
        }
        await consumer.close()
        store.close()
    }

    private static func drain(_ queue: MessageQueue) async throws {
        let consumer = QueueConsumer(queue)
        var messages = consumer.makeAsyncIterator()
        while let message = try await messages.next(within: .seconds(1)) { try await message.acknowledge() }
        await consumer.close()
        try await queue.purgeDeadLetters()
    }
}
