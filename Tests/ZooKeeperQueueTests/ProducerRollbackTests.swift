import Synchronization
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Batches whose reply was lost, when the version of the producer's node is not the expected one.
@Suite(.timeLimit(.minutes(1)))
struct ProducerRollbackTests {
    /// What happens to the tree before the batch is sent again.
    enum Interference: CaseIterable { case none, rollback, replacedNode, foreignWrites }

    @Test(
        "A send counts as stored only at a version that its producer can have written",
        arguments: Interference.allCases)
    func lostReply(_ interference: Interference) async throws {
        // The virtual clock stops between the lost reply and the next connection.
        let clock = VirtualClock()
        let (zookeeper, fault) = (InMemoryZooKeeper(clock: clock), OneTimeFault(.replyLost))
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
        // The producer continues, with another node when the old one proves nothing.
        try await producer.send("four")
        await producer.close()
        let expected = interference == .rollback ? ["one", "four"] : ["one", "two", "three", "four"]
        #expect(zookeeper.payloads == expected)
    }

    @Test("A rollback between two sends does not affect later sends")
    func rollbackBetweenSends() async throws {
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
        let node = try #require(zookeeper.nodes.keys.first { $0.hasPrefix("/queue/producers/") })
        switch interference {
        case .none: break
        case .rollback: zookeeper.restore(checkpoint)
        case .replacedNode:
            try await other.delete(node, version: nil)
            _ = try await other.create(node, data: [], mode: .persistent)
        case .foreignWrites:
            for _ in 0..<3 { _ = try await other.set(node, data: [], version: nil) }
        }
        other.close()
    }
}

extension VirtualClock {
    /// Advances the clock until a task has ended.
    fileprivate func advance<Success: Sendable>(until task: Task<Success, any Error>) async {
        let hasEnded = CompletionFlag()
        let watch = Task {
            _ = await task.result
            hasEnded.isSet.withLock { $0 = true }
        }
        while !hasEnded.isSet.withLock({ $0 }) { await advance(by: .milliseconds(10)) }
        await watch.value
    }
}

private final class CompletionFlag: Sendable {
    let isSet = Mutex(false)
}
