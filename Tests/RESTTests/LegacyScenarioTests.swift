import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperREST
import ZooKeeperServer

/// The ancestor's scenario: five hundred elements are put and checked, strictly increasing, while each server is killed and
/// started again.
@Suite(.timeLimit(.minutes(5)))
struct LegacyScenarioTests {
    private static let elements = 500

    /// Kills each server in turn; at which elements, and nothing is waited for but the servers themselves.
    private struct Nemesis {
        let ensemble: LocalEnsemble
        func before(_ element: Int) async throws {
            let (round, step) = (element / 150, element % 150)
            guard round < 3 else { return }
            if step == 20 { await ensemble.kill(round) }
            if step == 110 { try await ensemble.start(round) }
        }
    }

    private func put(
        _ numbers: Range<Int>, by producers: [QueueProducer], _ disturber: Nemesis
    ) async throws {
        for number in numbers {
            try await disturber.before(number)
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
                    // Not stored: once more.
                }
            }
        }
        for producer in producers { await producer.close() }
    }

    private func check(_ count: Int, by consumer: QueueConsumer) async throws -> [Int] {
        var taken: [Int] = []
        for try await message in consumer {
            taken.append(Int(String(decoding: message.payload, as: UTF8.self)) ?? -1)
            var isSettled = false
            while !isSettled {
                do {
                    try await message.acknowledge()
                    isSettled = true
                } catch let error as QueueError where error.code == .outcomeUnknown || error.code == .timedOut {
                    // Asked again, which finds out.
                }
            }
            if taken.count == count { break }
        }
        await consumer.close()
        return taken
    }

    @Test func throughRESTAlone() async throws {
        try await LocalEnsemble.withEnsemble(.forTests(servers: 3)) { ensemble in
            try await withGateway(.extended, servers: ensemble.connectString, sessionTimeout: .seconds(10)) { gateway in
                try await withStore(.extended, at: gateway, configure: { $0.sessionTimeout = .seconds(10) }) { store in
                    try await withStore(.extended, at: gateway, configure: { $0.sessionTimeout = .seconds(10) }) {
                        other in
                        let queue = try MessageQueue(store: store)
                        try await queue.prepare()
                        async let putting: Void = put(
                            0..<Self.elements, by: [QueueProducer(queue)], Nemesis(ensemble: ensemble))
                        let taken = try await check(
                            Self.elements,
                            by: QueueConsumer(try MessageQueue(store: other), configuration: .init(prefetch: 1)))
                        try await putting
                        #expect(taken == Array(0..<Self.elements))
                        let left = try await queue.statistics()
                        #expect(left.ready == 0 && left.leased == 0)
                    }
                }
            }
        }
    }

    /// A gateway like ZooKeeper's own, without transactions: some may come twice, and none is lost.
    @Test func throughAPlainGateway() async throws {
        try await LocalEnsemble.withEnsemble(.forTests(servers: 3)) { ensemble in
            try await withGateway(.plain, servers: ensemble.connectString, sessionTimeout: .seconds(10)) { gateway in
                try await withStore(.plain, at: gateway, configure: { $0.sessionTimeout = .seconds(10) }) { store in
                    try await withStore(.plain, at: gateway, configure: { $0.sessionTimeout = .seconds(10) }) { other in
                        let queue = try MessageQueue(store: store).creating(with: .init(redeliveryDelay: .zero))
                        try await queue.prepare()
                        async let putting: Void = put(
                            0..<Self.elements, by: [QueueProducer(queue)], Nemesis(ensemble: ensemble))
                        // A session may end with a server, and leave what it held to a recovery.
                        let recovery = Task { try await QueueRecovery(queue).run() }
                        let consumer = QueueConsumer(try MessageQueue(store: other))
                        var taken: [Int] = []
                        for try await message in consumer {
                            taken.append(Int(String(decoding: message.payload, as: UTF8.self)) ?? -1)
                            try? await message.acknowledge()
                            if Set(taken).count == Self.elements { break }
                        }
                        await consumer.close()
                        try await putting
                        recovery.cancel()
                        _ = await recovery.result
                        #expect(Set(taken) == Set(0..<Self.elements))
                        print("through a plain gateway: \(taken.count - Self.elements) of \(Self.elements) came twice")
                    }
                }
            }
        }
    }

    /// Elements of both protocols in turn, the first half taken over one and the second over the other.
    @Test func halfThroughRESTAndHalfThroughTheBinaryProtocol() async throws {
        try await LocalEnsemble.withEnsemble(.forTests(servers: 3)) { ensemble in
            try await withGateway(.extended, servers: ensemble.connectString, sessionTimeout: .seconds(10)) { gateway in
                try await ZooKeeperClient.withClient(configuration: .init(servers: ensemble.connectString)) {
                    zookeeper in
                    try await withStore(.extended, at: gateway, configure: { $0.sessionTimeout = .seconds(10) }) {
                        store in
                        let (rest, binary) = (try MessageQueue(store: store), try MessageQueue(zookeeper))
                        try await rest.prepare()
                        async let putting: Void = put(
                            0..<Self.elements, by: [QueueProducer(rest), QueueProducer(binary)],
                            Nemesis(ensemble: ensemble))
                        let one = QueueConsumer.Configuration(prefetch: 1)
                        let first = try await check(Self.elements / 2, by: QueueConsumer(rest, configuration: one))
                        let second = try await check(Self.elements / 2, by: QueueConsumer(binary, configuration: one))
                        try await putting
                        #expect(first + second == Array(0..<Self.elements))
                    }
                }
            }
        }
    }
}
