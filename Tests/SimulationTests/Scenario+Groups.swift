import QueueHistory
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// The protocols of message groups. All messages belong to one group, unless the scenario says otherwise.
extension Scenario {
    private static let payloads = ["a", "b", "c"]

    /// The first message begins the group, and the others follow.
    static let sendToGroup = Scenario(description: "send to a group", groups: .one) { harness, store in
        try await harness.produce(payloads, by: name, store)
    }

    static let sendToGroups = Scenario(
        description: "send to several groups at once", isOrdered: false, groups: .byFirstLetter
    ) { harness, store in
        try await harness.produce(["a1", "b1", "a2", "c1", "b2"], by: name, store, together: true)
    }

    static let sendIDsToGroup = Scenario(
        description: "send ids to a group", isOrdered: false, sendsIDs: true, groups: .one
    ) { harness, store in
        try await harness.produceInFlight(payloads, by: name, store)
        try await harness.produce(payloads + ["d"], by: "again", harness.session("again"))
    }

    static let sendToGroupsInTransactions = Scenario(
        description: "send to groups in transactions", copies: .whenSent, groups: .one
    ) { harness, store in
        try await harness.produce(payloads, by: name, store)
    }

    /// Another process consumes at the same time, so groups begin and end between two messages.
    static let sendToConsumedGroup = Scenario(
        description: "send to a group that is consumed", isOrdered: false, groups: .byFirstLetter
    ) { harness, store in
        async let consumed: Void = harness.consume(by: "other", harness.session("other"), idle: .seconds(60))
        for batch in [["a1", "b1"], ["a2", "b2"], ["a3", "b3"]] {
            try await harness.produce(batch, by: name, store, together: true)
        }
        try await consumed
    }

    static let consumeGroup = Scenario(description: "consume a group", groups: .one) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store)
    }

    /// Another process sends at the same time.
    static let consumeGrowingGroup = Scenario(
        description: "consume a group that grows", isOrdered: false, groups: .one
    ) { harness, store in
        async let consumed: Void = harness.consume(by: name, store, idle: .seconds(60))
        for payload in payloads + ["d", "e"] {
            try await harness.produce([payload], by: "producer", harness.session("producer"))
            try await harness.clock.sleep(for: .milliseconds(1))
        }
        try await consumed
    }

    static let acknowledgeGroupSending = Scenario(
        description: "acknowledge messages of a group and send", isOrdered: false, copies: .whenAcknowledged,
        groups: .one
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"))
        try await harness.consume(by: name, store)
    }

    static let requeueInGroup = Scenario(
        description: "requeue a message of a group too often", maximumDeliveries: 2, groups: .one
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store) { $0.payload == "b" ? .requeue : .acknowledge }
    }

    static let requeueInGroupLater = Scenario(
        description: "requeue a message of a group with a delay", requeueDelay: .seconds(40), groups: .one
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store) { $0.deliveryCount == 1 ? .requeue : .acknowledge }
        try await harness.recover(harness.session("recovery"), for: .seconds(50))
        try await harness.consume(by: name, store)
    }

    static let requeueOutsideGroup = Scenario(
        description: "requeue a message of a group, which goes on", isOrdered: false, requeueDelay: .seconds(40),
        groups: .one, retryBlocksGroup: false
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store) {
            $0.payload == "b" && $0.deliveryCount == 1 ? .requeue : .acknowledge
        }
        try await harness.recover(harness.session("recovery"), for: .seconds(50))
        try await harness.consume(by: name, store)
    }

    static let deadLetterInGroup = Scenario(description: "dead-letter a message of a group", groups: .one) {
        harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store) { $0.payload == "b" ? .deadLetter : .acknowledge }
    }

    static let groupOfFailedConsumer = Scenario(description: "recover a group", groups: .one) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.crash(by: "failed", harness.session("failed"), holding: 1)
        try? await harness.queue.recover(store)
        try await harness.consume(by: "other", harness.session("other"))
    }

    /// One consumer fails while it holds a message, and another one takes the next messages before the recovery.
    static let overtakenByRecovery = Scenario(
        description: "consume beside a failed consumer", isOrdered: false, groups: .one
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.crash(by: "failed", harness.session("failed"), holding: 1)
        try await harness.consume(by: name, store)
        try await harness.queue.recover(harness.session("recovery"))
        try await harness.consume(by: name, store)
    }

    /// The second failed consumer makes the recovery move the message to the dead letters, and the group goes on.
    static let redeliveryOfGroup = Scenario(
        description: "redelivery of a group to the dead letters", maximumDeliveries: 2, groups: .one
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.crash(by: "failed", harness.session("failed"), holding: 1)
        try await harness.queue.recover(harness.session("recovery"))
        try await harness.crash(by: "failed again", harness.session("failed again"), holding: 1)
        try? await harness.queue.recover(store)
    }

    static let groupDuringRollovers = Scenario(
        description: "consume a group during rollovers", isOrdered: false, sequenceRolloverThreshold: 1, groups: .one
    ) { harness, store in
        async let recovered: Void = harness.recover(harness.session("recovery"), for: .seconds(60))
        try await harness.produce(payloads, by: "producer", harness.session("producer"))
        try await harness.consume(by: name, store) { $0.deliveryCount == 1 ? .requeue : .acknowledge }
        try await harness.produce(["d", "e"], by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store)
        try await recovered
    }

    static let expireInGroup = Scenario(
        description: "expire messages of a group", isOrdered: false, expiry: .seconds(7), groups: .one
    ) { harness, store in
        try await harness.produce(payloads, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store) { _ in .hold(.seconds(8)) }
    }

    static let grouped = [
        sendToGroup, sendToGroups, sendIDsToGroup, sendToGroupsInTransactions, sendToConsumedGroup, consumeGroup,
        consumeGrowingGroup, acknowledgeGroupSending, requeueInGroup, requeueInGroupLater, requeueOutsideGroup,
        deadLetterInGroup,
        groupOfFailedConsumer, overtakenByRecovery, redeliveryOfGroup, groupDuringRollovers, expireInGroup,
    ]
}
