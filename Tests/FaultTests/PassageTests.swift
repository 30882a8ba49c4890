import Foundation
import QueueHistory
import Simulation
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// The server's numbers begin anew, again and again.
@Suite(.timeLimit(.minutes(5)))
struct PassageTests {
    private static let runs = 10
    /// How many passages in each run: `PASSAGES=100 make test` for a thousand in all.
    private static let passages = ProcessInfo.processInfo.environment["PASSAGES"].flatMap(Int.init) ?? 20

    /// One queue, until its numbers have begun anew so often. In every second run the consumer suffers no faults, so that the
    /// order of the messages can be judged.
    private func play(_ seed: UInt64) -> (epochs: Int, violations: [Violation]) {
        var subject = OurQueue()
        subject.attributes.sequenceRolloverThreshold = 1 + Int(seed % 4)
        subject.attributes.maximumBatchSize = seed.isMultiple(of: 3) ? 2 : 1
        let isOrdered = seed.isMultiple(of: 2)
        let theatre = Theatre(subject, .seeded(seed))
        let dice = Dice(seed: seed &+ 1)
        let faults: FaultPlan = { _ in dice.roll(1_000) < 10 ? Fault.allCases[dice.roll(Fault.allCases.count)] : nil }
        @Sendable func epochs() -> Int {
            let data = theatre.simulation.zookeeper.nodes["/queue/epoch"]?.data ?? []
            return String(decoding: data, as: UTF8.self).split(separator: " ").first.flatMap { Int($0) } ?? 0
        }
        let judgement = theatre.run(isOrdered: isOrdered) { theatre in
            let isDone = Flag()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<2 {
                    let store = theatre.session("producer\(number)", faults: faults)
                    group.addTask {
                        var messages = 0
                        while !isDone.isSet {
                            let batch = (0...dice.roll(3)).map { "p\(number)-\(messages + $0)" }
                            messages += batch.count
                            try await theatre.produce(
                                batch, by: "producer\(number)", store, together: dice.roll(2) == 0)
                            try await theatre.clock.sleep(for: .milliseconds(dice.roll(400)))
                        }
                    }
                }
                let consumer = theatre.session("consumer", faults: isOrdered ? nil : faults)
                group.addTask {
                    while !isDone.isSet { try await theatre.consume(by: "consumer", consumer, idle: .seconds(2)) }
                }
                let recovery = theatre.session("recovery", faults: faults)
                group.addTask {
                    while epochs() < Self.passages {
                        try? await theatre.subject.recover(recovery)
                        try await theatre.clock.sleep(for: .milliseconds(200))
                    }
                    isDone.isSet = true
                }
                try await group.waitForAll()
            }
        }
        return (epochs(), judgement.violations)
    }

    @Test func manyPassagesKeepEveryPromise() async {
        let outcomes = await concurrently(Self.runs) { play(UInt64($0)) }
        let passed = outcomes.reduce(0) { $0 + $1.result.epochs }
        print("\(passed) passages")
        #expect(passed >= Self.runs * Self.passages)
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
            let store = HookedStore(
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
    private func claimAfterAPassage(_ subject: any Subject) -> Judgement {
        let theatre = Theatre(subject)
        return theatre.run(isOrdered: true) { theatre in
            let producer = theatre.session("producer")
            try await theatre.produce(["a", "b"], by: "producer", producer, together: true)
            async let consumed: Void = theatre.consume(
                by: "consumer", theatre.session("consumer"), prefetch: 1, idle: .seconds(5)
            ) { $0.payload == "a" ? .hold(.milliseconds(500)) : .acknowledge }
            try await theatre.clock.sleep(for: .milliseconds(200))
            try await theatre.subject.recover(theatre.session("recovery"))
            try await theatre.produce(["c", "d"], by: "producer", producer, together: true)
            try await consumed
        }
    }

    @Test func aNameThatComesAgainIsNotTheOldMessage() {
        var subject = OurQueue()
        subject.attributes.sequenceRolloverThreshold = 1
        let judgement = claimAfterAPassage(subject)
        #expect(judgement.isGood, "\(judgement.violations)")
    }

    /// The negative control: without the check of the epoch, the new message is taken for the old one, and lost.
    @Test func withoutTheEpochAMessageIsLost() {
        var subject = OurQueue()
        subject.attributes.sequenceRolloverThreshold = 1
        subject.consumersStore = { HookedStore.withoutEpoch($0) }
        let found = claimAfterAPassage(subject).byMembers
        #expect(found.contains { $0.invariant == .noneLost }, "\(found)")
    }
}
