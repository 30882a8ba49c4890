import Logging
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// A consumer that lives as long as a closure.
@Suite(.timeLimit(.minutes(2)))
struct ScopedConsumerTests {
    private struct Failure: Error, CustomStringConvertible {
        var description: String { "the printer is on fire" }
    }

    enum Exit: CaseIterable { case breaks, returns, throwsError, cancelled }

    @Test("Leaving the loop early strands no message", arguments: Exit.allCases)
    func leavingEarly(_ exit: Exit) async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<5).map { OutgoingMessage("\($0)") })
            await producer.close()
            // The consumer's client closes right after the loop.
            try await withAnotherClient(like: client) { client in
                let queue = try MessageQueue(client)
                let task = Task {
                    try await queue.withConsumer(prefetch: 4) { messages in
                        loop: for try await message in messages {
                            try await message.acknowledge()
                            switch exit {
                            case .breaks: break loop
                            case .returns: return
                            case .throwsError: throw Failure()
                            case .cancelled: withUnsafeCurrentTask { $0?.cancel() }
                            }
                        }
                    }
                }
                do {
                    try await task.value
                    #expect(exit != .throwsError)
                } catch is Failure {
                    #expect(exit == .throwsError)
                }
            }
            try await queue.expectStatistics(ready: 4, leased: 0, partial: 0, dead: 0, consumers: 0)
            #expect(try await queue.drain() == ["1", "2", "3", "4"])
        }
    }

    @Test("A message that the closure leaves unsettled is requeued")
    func unsettled() async throws {
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect())
        try await QueueProducer(queue).send("x")
        try await queue.withConsumer { messages in
            var messages = messages.makeAsyncIterator()
            let message = try #require(try await messages.next())
            #expect(message.leaseState == .held)
        }
        try await queue.withConsumer { messages in
            for try await message in messages {
                #expect(message.payload == Array("x".utf8))
                try await message.acknowledge()
                break
            }
        }
        let statistics = try await queue.statistics()
        #expect(statistics.ready == 0 && statistics.leased == 0 && statistics.consumers == 0)
    }

    @Test("The states of a lease begin with the current one, and end when the message is settled")
    func leaseStates() async throws {
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect())
        try await QueueProducer(queue).send("x")
        try await queue.withConsumer { messages in
            var messages = messages.makeAsyncIterator()
            let message = try #require(try await messages.next())
            async let seen = message.leaseStates.reduce(into: [LeaseState]()) { $0.append($1) }
            // The task that reads the states may begin after the settlement.
            try await message.acknowledge()
            let states = await seen
            #expect(states == [.held, .settled] || states == [.settled])
            #expect(await message.leaseStates.reduce(into: []) { $0.append($1) } == [.settled])
        }
    }

    @Test("A handler may settle its message itself, which is no failure")
    func handlerThatSettles() async throws {
        let log = RecordedLog()
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect(), logger: log.logger())
        try await QueueProducer(queue).send(contentsOf: ["a", "b"].map { OutgoingMessage($0) })
        try await withThrowingTaskGroup(of: Void.self) { group in
            let worker = QueueWorker(QueueConsumer(queue)) { message in
                if message.payload == Array("a".utf8) {
                    try await message.deadLetter(reason: "not for us")
                } else {
                    try await message.acknowledge()
                }
            }
            group.addTask { try await worker.run() }
            while try await queue.statistics().ready + queue.statistics().leased > 0 { await Task.yield() }
            group.cancelAll()
            try await group.waitForAll()
        }
        #expect(try await queue.deadLetters().map(\.reason) == ["not for us"])
        #expect(!log.entries.contains { $0.message == "A handler failed" })
    }

    @Test("A dead letter and the worker's log contain the handler's error")
    func handlerError() async throws {
        let log = RecordedLog()
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect(), logger: log.logger())
            .creating(with: .init(maximumDeliveries: 1))
        try await QueueProducer(queue).send("secret payload")
        try await withThrowingTaskGroup(of: Void.self) { group in
            let worker = QueueWorker(QueueConsumer(queue)) { _ in throw Failure() }
            group.addTask { try await worker.run() }
            while try await queue.statistics().deadLettered == 0 { await Task.yield() }
            group.cancelAll()
        }
        let letter = try #require(try await queue.deadLetters().first)
        for text in ["ScopedConsumerTests", "Failure", "the printer is on fire"] {
            #expect(letter.reason.contains(text))
        }
        let entry = try #require(log.entries.first { $0.message == "A handler failed" })
        #expect(entry.level == .warning && entry.metadata["error"]?.contains("the printer is on fire") == true)
        #expect(entry.metadata["message"] != nil && entry.metadata["deliveryCount"] == "1")
        #expect(!log.entries.contains { "\($0)".contains("secret payload") })
    }
}
