import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperREST
import ZooKeeperServer

/// The legacy client's scenario: sends and receives 500 elements while each server is killed and restarted.
@Suite(.timeLimit(.minutes(5)))
struct LegacyScenarioTests {
    private static let elements = 500

    /// Kills and restarts each server in turn, at fixed elements.
    private struct Nemesis {
        let ensemble: LocalEnsemble
        func before(_ element: Int) async throws {
            let (round, step) = (element / 150, element % 150)
            guard round < 3 else { return }
            if step == 20 { await ensemble.kill(round) }
            if step == 110 { try await ensemble.start(round) }
        }
    }

    private func send(
        _ numbers: Range<Int>, by producers: [QueueProducer], _ nemesis: Nemesis
    ) async throws {
        for number in numbers {
            try await nemesis.before(number)
            var unresolved: UnresolvedSend?
            while true {
                do {
                    if let send = unresolved {
                        try await producers[number % producers.count].resume(send)
                    } else {
                        try await producers[number % producers.count].send("\(number)")
                    }
                    break
                } catch let error as QueueError where error.code == .outcomeUnknown && error.unresolvedSend != nil {
                    unresolved = error.unresolvedSend
                } catch let error as QueueError where error.code == .timedOut {
                    // The element was not stored, so it is sent again.
                }
            }
        }
        for producer in producers { await producer.close() }
    }

    private func receive(_ count: Int, by consumer: QueueConsumer) async throws -> [Int] {
        var received: [Int] = []
        for try await message in consumer {
            received.append(Int(String(decoding: message.payload, as: UTF8.self)) ?? -1)
            var isSettled = false
            while !isSettled {
                do {
                    try await message.acknowledge()
                    isSettled = true
                } catch let error as QueueError where error.code == .outcomeUnknown || error.code == .timedOut {
                    // The next attempt finds out whether this one was applied.
                }
            }
            if received.count == count { break }
        }
        await consumer.close()
        return received
    }

    @Test("Over REST alone, the elements arrive once and in order")
    func restAlone() async throws {
        try await LocalEnsemble.withEnsemble(.forTests(servers: 3)) { ensemble in
            try await withGateway(.extensions, servers: ensemble.connectString, sessionTimeout: .seconds(10)) {
                gateway in
                try await withStore(.extensions, at: gateway, configure: { $0.sessionTimeout = .seconds(10) }) {
                    store in
                    try await withStore(.extensions, at: gateway, configure: { $0.sessionTimeout = .seconds(10) }) {
                        other in
                        let queue = try MessageQueue(store: store)
                        try await queue.prepare()
                        async let sending: Void = send(
                            0..<Self.elements, by: [QueueProducer(queue)], Nemesis(ensemble: ensemble))
                        let received = try await receive(
                            Self.elements,
                            by: QueueConsumer(try MessageQueue(store: other), configuration: .init(prefetch: 1)))
                        try await sending
                        #expect(received == Array(0..<Self.elements))
                        let left = try await queue.statistics()
                        #expect(left.ready == 0 && left.leased == 0)
                    }
                }
            }
        }
    }

    @Test("Over a gateway without transactions, no element is lost")
    func withoutTransactions() async throws {
        try await LocalEnsemble.withEnsemble(.forTests(servers: 3)) { ensemble in
            try await withGateway(.standard, servers: ensemble.connectString, sessionTimeout: .seconds(10)) { gateway in
                try await withStore(.standard, at: gateway, configure: { $0.sessionTimeout = .seconds(10) }) { store in
                    try await withStore(.standard, at: gateway, configure: { $0.sessionTimeout = .seconds(10) }) {
                        other in
                        let queue = try MessageQueue(store: store).creating(with: .init(redeliveryDelay: .zero))
                        try await queue.prepare()
                        async let sending: Void = send(
                            0..<Self.elements, by: [QueueProducer(queue)], Nemesis(ensemble: ensemble))
                        // A consumer whose session ends leaves its leases to the recovery.
                        let recovery = Task { try await QueueRecovery(queue).run() }
                        let consumer = QueueConsumer(try MessageQueue(store: other))
                        var received: [Int] = []
                        for try await message in consumer {
                            received.append(Int(String(decoding: message.payload, as: UTF8.self)) ?? -1)
                            try? await message.acknowledge()
                            if Set(received).count == Self.elements { break }
                        }
                        await consumer.close()
                        try await sending
                        recovery.cancel()
                        _ = await recovery.result
                        #expect(Set(received) == Set(0..<Self.elements))
                        let duplicates = received.count - Self.elements
                        print("without transactions: \(duplicates) of \(Self.elements) elements arrived twice")
                    }
                }
            }
        }
    }

    @Test("Over REST and ZooKeeper's protocol together, the elements arrive once and in order")
    func restAndNativeProtocol() async throws {
        try await LocalEnsemble.withEnsemble(.forTests(servers: 3)) { ensemble in
            try await withGateway(.extensions, servers: ensemble.connectString, sessionTimeout: .seconds(10)) {
                gateway in
                try await ZooKeeperClient.withClient(configuration: .init(servers: ensemble.connectString)) {
                    zookeeper in
                    try await withStore(.extensions, at: gateway, configure: { $0.sessionTimeout = .seconds(10) }) {
                        store in
                        let (rest, native) = (try MessageQueue(store: store), try MessageQueue(zookeeper))
                        try await rest.prepare()
                        async let sending: Void = send(
                            0..<Self.elements, by: [QueueProducer(rest), QueueProducer(native)],
                            Nemesis(ensemble: ensemble))
                        let one = QueueConsumer.Configuration(prefetch: 1)
                        let first = try await receive(Self.elements / 2, by: QueueConsumer(rest, configuration: one))
                        let second = try await receive(Self.elements / 2, by: QueueConsumer(native, configuration: one))
                        try await sending
                        #expect(first + second == Array(0..<Self.elements))
                    }
                }
            }
        }
    }
}
