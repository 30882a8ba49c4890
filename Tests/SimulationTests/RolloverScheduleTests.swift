import Foundation
import QueueHistory
import Simulation
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// The server's numbers begin anew, again and again.
@Suite(.timeLimit(.minutes(5)))
struct RolloverScheduleTests {
    private static let runs = 10
    /// How many rollovers in each run: `ROLLOVERS=100 make test` for a thousand in all.
    private static let rollovers = ProcessInfo.processInfo.environment["ROLLOVERS"].flatMap(Int.init) ?? 20

    /// One queue, until its numbers have begun anew so often. In every second run the consumer suffers no faults, so that the
    /// order of the messages can be judged.
    private func play(_ seed: UInt64) -> (epochs: Int, violations: [Violation]) {
        var subject = OurQueue()
        subject.attributes.sequenceRolloverThreshold = 1 + Int(seed % 4)
        subject.attributes.maximumBatchSize = seed.isMultiple(of: 3) ? 2 : 1
        let isOrdered = seed.isMultiple(of: 2)
        let harness = FaultHarness(subject, .seeded(seed))
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
                        try? await harness.subject.recover(recovery)
                        try await harness.clock.sleep(for: .milliseconds(200))
                    }
                    isDone.isSet = true
                }
                try await group.waitForAll()
            }
        }
        return (epochs(), result.violations)
    }

    @Test func manyPassagesKeepEveryPromise() async {
        let outcomes = await concurrently(Self.runs) { play(UInt64($0)) }
        let passed = outcomes.reduce(0) { $0 + $1.result.epochs }
        print("\(passed) rollovers")
        #expect(passed >= Self.runs * Self.rollovers)
        for (seed, outcome) in outcomes {
            #expect(outcome.violations.isEmpty, "seed \(seed): \(outcome.violations.prefix(5))")
        }
    }

    /// A long queue moves just between a consumer's list and its reads: what comes behind a message that is not where it was
    /// does not overtake it.
    @Test func whatMovesBetweenListAndReadKeepsItsPlace() throws {
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

    /// A message is read, then a passage takes its name away, another message gets it, and the name is claimed.
    private func claimAfterAPassage(_ subject: any Subject) -> CheckResult {
        let harness = FaultHarness(subject)
        return harness.run(isOrdered: true) { harness in
            let producer = harness.session("producer")
            try await harness.produce(["a", "b"], by: "producer", producer, together: true)
            async let consumed: Void = harness.consume(
                by: "consumer", harness.session("consumer"), prefetch: 1, idle: .seconds(5)
            ) { $0.payload == "a" ? .hold(.milliseconds(500)) : .acknowledge }
            try await harness.clock.sleep(for: .milliseconds(200))
            try await harness.subject.recover(harness.session("recovery"))
            try await harness.produce(["c", "d"], by: "producer", producer, together: true)
            try await consumed
        }
    }

    @Test func aNameThatComesAgainIsNotTheOldMessage() {
        var subject = OurQueue()
        subject.attributes.sequenceRolloverThreshold = 1
        let result = claimAfterAPassage(subject)
        #expect(result.isGood, "\(result.violations)")
    }

    /// The negative control: without the check of the epoch, the new message is taken for the old one, and lost.
    @Test func withoutTheEpochAMessageIsLost() {
        var subject = OurQueue()
        subject.attributes.sequenceRolloverThreshold = 1
        subject.consumersStore = { InterceptingStore.withoutEpoch($0) }
        let found = claimAfterAPassage(subject).byMembers
        #expect(found.contains { $0.invariant == .noneLost }, "\(found)")
    }
}
