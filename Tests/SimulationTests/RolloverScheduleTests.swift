import Foundation
import QueueHistory
import Simulation
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// Rollovers of the server's sequence numbers, many times in a run.
@Suite(.timeLimit(.minutes(5)))
struct RolloverScheduleTests {
    private static let runs = 10
    /// The number of rollovers in each run. `ROLLOVERS=100 make test` makes a thousand in all.
    private static let rollovers = ProcessInfo.processInfo.environment["ROLLOVERS"].flatMap(Int.init) ?? 20

    /// Runs one queue until its numbers have rolled over often enough. In every second run the consumer suffers no
    /// faults, because only then can the order of the messages be checked.
    private func run(_ seed: UInt64) -> (epochs: Int, violations: [Violation]) {
        var queue = OurQueue()
        queue.attributes.sequenceRolloverThreshold = 1 + Int(seed % 4)
        queue.attributes.maximumBatchSize = seed.isMultiple(of: 3) ? 2 : 1
        let isOrdered = seed.isMultiple(of: 2)
        let harness = FaultHarness(queue, .seeded(seed))
        let random = SeededRandom(seed: seed &+ 1)
        let faults: FaultPlan = { _ in random.roll(1_000) < 10 ? Fault.allCases[random.roll(Fault.allCases.count)] : nil
        }
        @Sendable func epochs() -> Int {
            let data = harness.simulation.zookeeper.nodes["/queue/epoch"]?.data ?? []
            return String(decoding: data, as: UTF8.self).split(separator: " ").first.flatMap { Int($0) } ?? 0
        }
        let result = harness.run(isOrdered: isOrdered) { harness in
            let isDone = Flag()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<2 {
                    let store = harness.session("producer\(number)", faults: faults)
                    group.addTask {
                        var messages = 0
                        while !isDone.isSet {
                            let batch = (0...random.roll(3)).map { "p\(number)-\(messages + $0)" }
                            messages += batch.count
                            try await harness.produce(
                                batch, by: "producer\(number)", store, together: random.roll(2) == 0)
                            try await harness.clock.sleep(for: .milliseconds(random.roll(400)))
                        }
                    }
                }
                let consumer = harness.session("consumer", faults: isOrdered ? nil : faults)
                group.addTask {
                    while !isDone.isSet { try await harness.consume(by: "consumer", consumer, idle: .seconds(2)) }
                }
                let recovery = harness.session("recovery", faults: faults)
                group.addTask {
                    while epochs() < Self.rollovers {
                        try? await harness.queue.recover(recovery)
                        try await harness.clock.sleep(for: .milliseconds(200))
                    }
                    isDone.isSet = true
                }
                try await group.waitForAll()
            }
        }
        return (epochs(), result.violations)
    }

    @Test("Every promise is kept during many rollovers")
    func manyRollovers() async {
        let outcomes = await concurrently(Self.runs) { run(UInt64($0)) }
        let total = outcomes.reduce(0) { $0 + $1.result.epochs }
        print("\(total) rollovers")
        #expect(total >= Self.runs * Self.rollovers)
        for (seed, outcome) in outcomes {
            #expect(outcome.violations.isEmpty, "seed \(seed): \(outcome.violations.prefix(5))")
        }
    }

    @Test("Messages keep their order when a rollover moves them between a consumer's list and its reads")
    func orderWhileMoving() throws {
        let simulation = Simulation(.fixed)
        let payloads = try simulation.run { [zookeeper = simulation.zookeeper] in
            let other = zookeeper.connect("other")
            let producer = QueueProducer(try MessageQueue(store: other))
            try await producer.send(contentsOf: (0..<10).map { OutgoingMessage("\($0)") })
            await producer.close()
            _ = try await other.set("/queue/epoch", data: Array("0 moving".utf8), version: nil)
            let reads = Counter()
            let store = InterceptingStore(
                session: zookeeper.connect("consumer"),
                beforeReading: { _ in
                    guard reads.next() == 1 else { return }
                    for number in 0..<5 {
                        let name = "item-100-000000000\(number)"
                        _ = try await other.multi([
                            .delete("/queue/items/\(name)"),
                            .create("/queue/earlier/\(name)", data: Array("\(number)".utf8)),
                        ])
                    }
                })
            let consumer = QueueConsumer(try MessageQueue(store: store))
            var messages = consumer.makeAsyncIterator()
            var payloads: [String] = []
            while let message = try await messages.next(within: .seconds(5)) {
                payloads.append(String(decoding: message.payload, as: UTF8.self))
                try await message.acknowledge()
            }
            await consumer.close()
            return payloads
        }
        #expect(payloads == (0..<10).map(String.init))
    }

    /// A consumer reads a message, a rollover moves the message, another message gets the same name, and the consumer
    /// claims that name.
    private func claimAfterRollover(_ queue: any QueueUnderTest) -> CheckResult {
        let harness = FaultHarness(queue)
        return harness.run(isOrdered: true) { harness in
            let producer = harness.session("producer")
            try await harness.produce(["a", "b"], by: "producer", producer, together: true)
            async let consumed: Void = harness.consume(
                by: "consumer", harness.session("consumer"), prefetch: 1, idle: .seconds(5)
            ) { $0.payload == "a" ? .hold(.milliseconds(500)) : .acknowledge }
            try await harness.clock.sleep(for: .milliseconds(200))
            try await harness.queue.recover(harness.session("recovery"))
            try await harness.produce(["c", "d"], by: "producer", producer, together: true)
            try await consumed
        }
    }

    @Test("A consumer does not confuse two messages that had the same name in different epochs")
    func reusedName() {
        var queue = OurQueue()
        queue.attributes.sequenceRolloverThreshold = 1
        let result = claimAfterRollover(queue)
        #expect(result.passed, "\(result.violations)")
    }

    /// The negative control for the test above.
    @Test("Without the check of the epoch, a message with a reused name is lost")
    func withoutEpochCheck() {
        var queue = OurQueue()
        queue.attributes.sequenceRolloverThreshold = 1
        queue.consumerStore = { InterceptingStore.withoutEpochCheck($0) }
        let found = claimAfterRollover(queue).byHistory
        #expect(found.contains { $0.invariant == .noneLost }, "\(found)")
    }
}
