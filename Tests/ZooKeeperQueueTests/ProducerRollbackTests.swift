import Synchronization
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// What a producer says of a batch whose reply was lost when its lane's version is not the one that it left.
@Suite(.timeLimit(.minutes(1)))
struct ProducerRollbackTests {
    /// What happens to the tree before the batch is sent again.
    enum Interference: CaseIterable { case none, rollback, replacedLane, strangersWrites }

    @Test("A send counts as stored only at a version that its producer can have left", arguments: Interference.allCases)
    func aLostReply(_ interference: Interference) async throws {
        // Time stands still between the lost reply and the next connection.
        let clock = VirtualClock()
        let (zookeeper, fault) = (InMemoryZooKeeper(clock: clock), OneFault(.replyLost))
        let session = zookeeper.connect(faults: fault.plan)
        let producer = QueueProducer(
            try MessageQueue(store: session), configuration: .init(sendTimeout: .seconds(1_000_000)))
        try await producer.send("one")
        let checkpoint = zookeeper.checkpoint()
        try await producer.send("two")
        fault.arm()
        let sending = Task { try await producer.send("three") }
        for await state in session.sessionStates where state.phase == .disconnected { break }
        try await interfere(interference, zookeeper, checkpoint)
        await clock.advance(until: sending)

        if interference == .none {
            #expect(try await sending.value == SendReceipt(nodeName: nil))
        } else {
            let error = await #expect(throws: QueueError.self) { try await sending.value }
            #expect(error?.code == .outcomeUnknown && error?.unresolvedSend == nil, "\(error as Any)")
        }
        // The producer goes on, with another lane where that one can no longer tell.
        try await producer.send("four")
        await producer.close()
        let expected = interference == .rollback ? ["one", "four"] : ["one", "two", "three", "four"]
        #expect(zookeeper.payloads == expected)
    }

    @Test("A lane that was rolled back while nothing was under way costs no message that is sent afterwards")
    func aRollbackInBetween() async throws {
        let zookeeper = InMemoryZooKeeper()
        let producer = QueueProducer(try MessageQueue(store: zookeeper.connect()))
        try await producer.send("one")
        let checkpoint = zookeeper.checkpoint()
        for text in ["two", "three"] { try await producer.send(text) }
        zookeeper.restore(checkpoint)
        try await producer.send("four")
        await producer.close()
        #expect(zookeeper.payloads == ["one", "four"])
    }

    private func interfere(
        _ interference: Interference, _ zookeeper: InMemoryZooKeeper, _ checkpoint: InMemoryZooKeeper.Checkpoint
    ) async throws {
        let other = zookeeper.connect("other")
        let sequence = try #require(zookeeper.nodes.keys.first { $0.hasPrefix("/queue/producers/") })
        switch interference {
        case .none: break
        case .rollback: zookeeper.restore(checkpoint)
        case .replacedLane:
            try await other.delete(sequence, version: nil)
            _ = try await other.create(sequence, data: [], mode: .persistent)
        case .strangersWrites:
            for _ in 0..<3 { _ = try await other.set(sequence, data: [], version: nil) }
        }
        other.close()
    }
}

extension VirtualClock {
    /// Lets time pass until a task has ended.
    fileprivate func advance<Success: Sendable>(until task: Task<Success, any Error>) async {
        let hasEnded = Ended()
        let watch = Task {
            _ = await task.result
            hasEnded.isSet.withLock { $0 = true }
        }
        while !hasEnded.isSet.withLock({ $0 }) { await advance(by: .milliseconds(10)) }
        await watch.value
    }
}

private final class Ended: Sendable {
    let isSet = Mutex(false)
}
