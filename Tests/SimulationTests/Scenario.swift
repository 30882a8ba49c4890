import QueueHistory
import Simulation
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// One protocol of the queue, run by one process that suffers faults.
struct Scenario: Sendable, CustomStringConvertible {
    let description: String
    /// Whether first deliveries must come in the order in which the messages were stored.
    var isOrdered = true
    var maximumDeliveries = 10
    /// The number at which the server's sequence numbers roll over.
    var sequenceRolloverThreshold = 1_500_000_000
    var capacity = QueueCapacity()
    /// Whether messages are sent with ids, which are stored for at least a minute.
    var sendsIDs = false
    /// How long a consumer may be silent before a recovery takes its leases.
    var leaseTimeout = Duration.seconds(60)
    /// The delay of messages that are sent, and of messages that are requeued.
    var delay = Duration.zero
    var requeueDelay = Duration.zero
    /// How long after its send a message expires.
    var expiry: Duration?
    /// Whether the number of messages in a node makes a difference. A message that is sent with a delay, or belongs to
    /// a group, is alone in its node.
    var dependsOnBatches: Bool {
        if case .none = groups { return delay == .zero }
        return false
    }
    /// Nodes that must exist at the end.
    var expectedNodes: [String] = []
    /// The copies of the messages that are sent to another queue.
    var copies = Copies.none
    var groups = Groups.none
    /// Whether a message of a group blocks the group while it waits for a retry.
    var retryBlocksGroup = true
    /// A message that the process itself must receive, because a consumer must continue after every fault.
    var requiredDelivery: String?
    let body: @Sendable (FaultHarness, InMemorySession) async throws -> Void

    /// The name of the process that suffers the faults.
    static let name = "tested"

    /// Runs the scenario once.
    ///
    /// - Returns: the number of calls of the process, and the promises that were broken.
    func run(_ queue: any QueueUnderTest, faults: FaultPlan? = nil) -> (calls: Int, result: CheckResult) {
        var harness = FaultHarness(queue)
        harness.maximumDeliveries = maximumDeliveries
        let store = harness.session(Self.name, faults: faults)
        let result = harness.run(isOrdered: isOrdered) { harness in
            try await body(harness, store)
            store.clearFaults()
        }
        var missing = expectedNodes.filter { harness.simulation.zookeeper.nodes[$0] == nil }.map {
            Violation(.noneLost, "an acknowledgement had no effect: \($0)")
        }
        let delivered = harness.history.events.filter { $0.kind == .delivered && $0.process == Self.name }
            .map(\.message)
        if let requiredDelivery, !delivered.contains(requiredDelivery) {
            missing.append(Violation(.drainedInTime, "the consumer did not receive \(requiredDelivery)"))
        }
        let byHistory = result.byHistory + missing
        return (store.callCount, CheckResult(byHistory: byHistory, byMonitor: result.byMonitor))
    }

    private static let payloads = ["a", "b", "c"]

    static let send = Scenario(description: "send") { harness, store in
        try await harness.produce(payloads, by: name, store)
    }

    static let sendMany = Scenario(description: "send many") { harness, store in
        try await harness.produce((10..<20).map { "m\($0)" }, by: name, store, together: true)
    }

    static let sendInFlight = Scenario(description: "send several batches at once") { harness, store in
        try await harness.produceInFlight(payloads + ["d", "e"], by: name, store)
    }

    static let acknowledge = Scenario(description: "claim and acknowledge") { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store)
    }

    /// Each acknowledgement creates a node in the same transaction. Every node must exist at the end. A node that is
    /// created twice is refused.
    static let acknowledgeWithEffect = Scenario(
        description: "acknowledge with an effect", expectedNodes: payloads.map { "/effects/\($0)" }
    ) { harness, store in
        let producer = harness.session("producer")
        _ = try await producer.create("/effects", data: [], mode: .persistent)
        try await harness.produce(payloads, by: "producer", producer)
        try await harness.consumeTogether(3, by: name, store)
    }

    /// Each acknowledgement sends a message to another queue, and creates a node, in the same transaction.
    static let acknowledgeSending = Scenario(
        description: "acknowledge and send", isOrdered: false, expectedNodes: payloads.map { "/effects/\($0)" },
        copies: .whenAcknowledged
    ) { harness, store in
        let producer = harness.session("producer")
        _ = try await producer.create("/effects", data: [], mode: .persistent)
        try await harness.produce(payloads, by: "producer", producer)
        try await harness.consumeTogether(2, by: name, store)
    }

    static let acknowledgeSendingIDs = Scenario(
        description: "acknowledge and send with ids", isOrdered: false, sendsIDs: true, copies: .whenAcknowledged
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"))
        try await harness.consumeTogether(2, by: name, store)
    }

    /// Each message is stored in two queues, in one transaction.
    static let transaction = Scenario(description: "send to two queues", copies: .whenSent) { harness, store in
        try await harness.produce(payloads, by: name, store)
    }

    /// Another process sends the same messages again.
    static let transactionWithIDs = Scenario(
        description: "send to two queues with ids", sendsIDs: true, copies: .whenSent
    ) { harness, store in
        try await harness.produce(payloads, by: name, store, together: true)
        try await harness.produce(payloads + ["d"], by: "again", harness.session("again"), together: true)
    }

    static let transactionDuringRollovers = Scenario(
        description: "send to two queues during rollovers", sequenceRolloverThreshold: 1, copies: .whenSent
    ) { harness, store in
        async let recovered: Void = harness.recover(harness.session("recovery"), for: .seconds(60))
        try await harness.produce(payloads, by: name, store)
        try await recovered
    }

    static let transactions = [
        acknowledgeSending, acknowledgeSendingIDs, transaction, transactionWithIDs, transactionDuringRollovers,
    ]

    // A consumer that could not leave the tree in time counts as a second consumer, so the order cannot be checked.
    static let acknowledgeTogether = Scenario(description: "acknowledge together", isOrdered: false) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.consumeTogether(3, by: name, store)
    }

    /// A consumer's sequence continues after any fault at its first calls, and receives a later message.
    static let continuing = Scenario(description: "continue after a fault", requiredDelivery: "late") {
        harness, store in
        try await harness.produce(["early"], by: "producer", harness.session("producer"))
        async let consumed: Void = harness.consume(by: name, store, idle: .seconds(200))
        async let recovered: Void = harness.recover(harness.session("recovery"), for: .seconds(200))
        try await harness.clock.sleep(for: .seconds(90))
        try await harness.produce(["late"], by: "producer", harness.session("producer"))
        _ = try await (consumed, recovered)
    }

    static let requeue = Scenario(description: "requeue") { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store) { $0.deliveryCount == 1 ? .requeue : .acknowledge }
    }

    static let requeueTooOften = Scenario(description: "requeue too often", maximumDeliveries: 2) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store) { $0.payload == "b" ? .requeue : .acknowledge }
    }

    static let deadLetter = Scenario(description: "dead-letter") { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store) { $0.payload == "b" ? .deadLetter : .acknowledge }
    }

    static let recovery = Scenario(description: "recovery and redelivery") { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.crash(by: "failed", harness.session("failed"), holding: 2)
        try? await harness.queue.recover(store)
    }

    static let recoveryBesideLiveConsumer = Scenario(
        description: "recovery beside a live consumer", isOrdered: false
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        async let consumed: Void = harness.consume(by: "alive", harness.session("alive"), idle: .seconds(1)) { _ in
            .hold(.seconds(8))
        }
        try await harness.clock.sleep(for: .seconds(5))
        try? await harness.queue.recover(store)
        try await harness.consume(by: "other", harness.session("other"))
        try await consumed
    }

    static let redeliveryToDeadLetters = Scenario(
        description: "redelivery to the dead letters", maximumDeliveries: 2
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.crash(by: "failed", harness.session("failed"), holding: 2)
        try await harness.queue.recover(harness.session("recovery"))
        try await harness.crash(by: "failed again", harness.session("failed again"), holding: 1)
        try? await harness.queue.recover(store)
    }

    static let registration = Scenario(description: "registration") { harness, store in
        try await harness.consume(by: name, store, idle: .seconds(1))
    }

    // A message that the consumer releases late is delivered late.
    static let shutdown = Scenario(description: "shutdown", isOrdered: false) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        var receiver = try harness.receiver(store, prefetch: 3)
        _ = try? await receiver.next(within: .seconds(1))
        await receiver.close()
    }

    /// The process is stopped while its handler runs, until its session has expired and another consumer has the
    /// message. It then continues, and acknowledges the message.
    static let slowHandler = Scenario(description: "a handler slower than its session", isOrdered: false) {
        harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        async let consumed: Void = harness.consume(by: name, store, prefetch: 1) { delivery in
            store.pause(for: .seconds(14))
            return .hold(.seconds(15))
        }
        try await harness.clock.sleep(for: .seconds(12))
        try await harness.queue.recover(harness.session("recovery"))
        try await harness.consume(by: "other", harness.session("other"), prefetch: 1) { _ in .hold(.seconds(6)) }
        try await consumed
    }

    /// The process is killed while it holds messages.
    static let crash = Scenario(description: "crash of a consumer") { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.crash(by: name, store, holding: 2)
    }

    /// Ready messages, messages of a failed consumer and a dead letter have names of the old epoch.
    static let rollover = Scenario(description: "rollover to a new epoch", sequenceRolloverThreshold: 4) {
        harness, store in
        try await harness.produce(["x"], by: "producer", harness.session("producer"))
        try await harness.consume(by: "other", harness.session("other")) { _ in .deadLetter }
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.crash(by: "failed", harness.session("failed"), holding: 2)
        try? await harness.queue.recover(store)
        try await harness.produce(["e", "f"], by: "producer", harness.session("producer"), together: true)
    }

    static let sendDuringRollovers = Scenario(
        description: "send during rollovers", sequenceRolloverThreshold: 1
    ) { harness, store in
        async let recovered: Void = harness.recover(harness.session("recovery"), for: .seconds(60))
        try await harness.produce(payloads + ["d", "e"], by: name, store)
        try await recovered
    }

    // Messages that a failed consumer holds return late, and later messages overtake them.
    static let claimDuringRollovers = Scenario(
        description: "claim and requeue during rollovers", isOrdered: false, sequenceRolloverThreshold: 1
    ) { harness, store in
        async let recovered: Void = harness.recover(harness.session("recovery"), for: .seconds(60))
        try await harness.produce(payloads, by: "producer", harness.session("producer"))
        try await harness.consume(by: name, store) { $0.deliveryCount == 1 ? .requeue : .acknowledge }
        try await harness.produce(["d", "e"], by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store)
        try await recovered
    }

    // Both this consumer and the one that drains the queue at the end receive messages, so the order cannot be checked.
    static let sendToAFullQueue = Scenario(
        description: "send to a full queue", isOrdered: false, capacity: .init(messages: 2)
    ) { harness, store in
        async let produced: Void = harness.produce(payloads + ["d", "e"], by: name, store)
        // Long enough for the queue to be full.
        try await harness.clock.sleep(for: .seconds(2))
        async let recovered: Void = harness.recover(harness.session("recovery"), for: .seconds(100))
        try await harness.consume(by: "other", harness.session("other"), prefetch: 1, idle: .seconds(60))
        _ = try await (produced, recovered)
    }

    /// Another process sends the same messages again.
    static let sendWithIDs = Scenario(description: "send with ids", sendsIDs: true) { harness, store in
        try await harness.produceInFlight(payloads, by: name, store)
        try await harness.produce(payloads + ["d"], by: "again", harness.session("again"), together: true)
    }

    static let sendIDsAgain = Scenario(description: "send the same ids again", sendsIDs: true) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        // A recovery that has seen the bucket for long enough starts another one. The ids are then in the previous
        // bucket.
        let recovery = harness.session("recovery")
        try await harness.queue.recover(recovery)
        try await harness.clock.sleep(for: .seconds(70))
        try await harness.queue.recover(recovery)
        try await harness.produce(["b", "d", "a", "c", "e"], by: name, store, together: true)
    }

    /// The recovery removes the first bucket, and keeps the ids of later messages.
    static let expireIDs = Scenario(description: "expire ids", sendsIDs: true) { harness, store in
        let producer = harness.session("producer")
        try await harness.produce(payloads, by: "producer", producer, together: true)
        try? await harness.queue.recover(store)
        try await harness.clock.sleep(for: .seconds(70))
        for _ in 0..<2 { try? await harness.queue.recover(store) }
        try await harness.produce(["d", "e"], by: "producer", producer, together: true)
        try await harness.clock.sleep(for: .seconds(70))
        for _ in 0..<2 { try? await harness.queue.recover(store) }
        try await harness.produce(["e", "d"], by: "again", harness.session("again"))
    }

    static let sendLater = Scenario(description: "send with a delay", delay: .seconds(7)) { harness, store in
        try await harness.produceInFlight(payloads, by: name, store)
    }

    // A message that returns is delivered after later ones.
    static let requeueLater = Scenario(
        description: "requeue with a delay", isOrdered: false, requeueDelay: .seconds(40)
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store) { $0.deliveryCount == 1 ? .requeue : .acknowledge }
        try await harness.recover(harness.session("recovery"), for: .seconds(50))
        try await harness.consume(by: name, store)
    }

    /// Both kinds of delayed messages become ready in one pass, and a rollover comes in between.
    static let moveDelayed = Scenario(
        description: "make delayed messages ready", isOrdered: false, sequenceRolloverThreshold: 3,
        delay: .seconds(30), requeueDelay: .seconds(40)
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"))
        try await harness.clock.sleep(for: .seconds(31))
        try? await harness.queue.recover(store)
        try await harness.consume(by: "other", harness.session("other")) {
            $0.payload == "b" ? .requeue : .acknowledge
        }
        try await harness.clock.sleep(for: .seconds(41))
        for _ in 0..<2 { try? await harness.queue.recover(store) }
    }

    /// The recovery that runs all the time moves the messages, beside another one without faults.
    static let keepMovingDelayed = Scenario(
        description: "keep making delayed messages ready", isOrdered: false, delay: .seconds(3)
    ) { harness, store in
        async let recovered: Void = harness.keepRecovering([store, harness.session("recovery")], for: .seconds(9))
        try await harness.produce(["a"], by: "producer", harness.session("producer"))
        try await harness.clock.sleep(for: .seconds(2))
        try await harness.produce(["b", "c"], by: "producer", harness.session("producer"))
        try await recovered
    }

    /// The process is stopped for so long that a recovery takes its leases, and continues in the same session. A
    /// request that takes longer than the lease timeout has the same effect.
    static let silentConsumer = Scenario(
        description: "the leases of a silent consumer", isOrdered: false, leaseTimeout: leaseTimeout
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        async let consumed: Void = harness.consume(by: name, store, prefetch: 2) { delivery in
            guard delivery.payload == "b" else { return .acknowledge }
            store.pause(for: .seconds(8))
            return .hold(.seconds(9))
        }
        async let recovered: Void = harness.recover(harness.session("recovery"), for: .seconds(20), every: .seconds(1))
        try await harness.clock.sleep(for: .seconds(7))
        try await harness.consume(by: "other", harness.session("other"), prefetch: 1, idle: .seconds(5))
        _ = try await (consumed, recovered)
    }

    static let takeLeases = Scenario(
        description: "take the leases of a silent consumer", isOrdered: false, leaseTimeout: leaseTimeout
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        let silent = harness.session("silent")
        async let consumed: Void = harness.consume(by: "silent", silent, prefetch: 2) { delivery in
            guard delivery.payload == "b" else { return .acknowledge }
            silent.pause(for: .seconds(8))
            return .hold(.seconds(9))
        }
        try await harness.recover(store, for: .seconds(8), every: .seconds(2))
        try await consumed
    }

    /// The handlers take longer than the lease timeout, so the process renews its leases beside a recovery.
    static let renewLeases = Scenario(
        description: "renew leases", isOrdered: false, leaseTimeout: leaseTimeout
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        async let consumed: Void = harness.consume(by: name, store, prefetch: 2) { _ in .hold(.seconds(4)) }
        async let recovered: Void = harness.recover(harness.session("recovery"), for: .seconds(16), every: .seconds(1))
        _ = try await (consumed, recovered)
    }

    private static let leaseTimeout = Duration.seconds(3)

    static let leases = [silentConsumer, takeLeases, renewLeases]

    /// One message expires in the buffer, and the others before they are claimed.
    static let expire = Scenario(description: "expire", isOrdered: false, expiry: .seconds(7)) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store, prefetch: 2) { _ in .hold(.seconds(8)) }
    }

    /// Without consumers, the recovery settles expired messages.
    static let sweepExpired = Scenario(
        description: "sweep expired messages", isOrdered: false, expiry: .seconds(7)
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        for _ in 0..<2 {
            try? await harness.queue.recover(store)
            try await harness.clock.sleep(for: .seconds(31))
        }
    }

    static let delayed = [sendLater, requeueLater, moveDelayed, keepMovingDelayed]

    static let all =
        delayed + leases + transactions + grouped + [expire, sweepExpired] + [
            sendWithIDs, sendIDsAgain, expireIDs,
            sendToAFullQueue, rollover, sendDuringRollovers, claimDuringRollovers,
            send, sendMany, sendInFlight, acknowledge, acknowledgeTogether, acknowledgeWithEffect, continuing, requeue,
            requeueTooOften,
            deadLetter, recovery,
            recoveryBesideLiveConsumer,
            redeliveryToDeadLetters, registration, shutdown, slowHandler, crash,
        ]
}
