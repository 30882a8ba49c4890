import Synchronization
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// The queue of this package.
struct OurQueue: Subject {
    var attributes = QueueAttributes()
    var producerStateRetention = Duration.seconds(1)
    /// Where each acknowledgement creates a node named after its message, in the same step.
    var effects: String?
    /// Whether each message is sent with its payload as id.
    var sendsIDs = false
    /// What producers see of the store.
    var producersStore: @Sendable (InMemorySession) -> any ZooKeeperStore = { $0 }
    /// What recoveries see of the store.
    var recoverysStore: @Sendable (InMemorySession) -> any ZooKeeperStore = { $0 }
    /// What consumers see of the store.
    var consumersStore: @Sendable (InMemorySession) -> any ZooKeeperStore = { $0 }

    private let recoveries = Recoveries()
    /// Longer than any series of faults that a schedule draws. A call that is answered too late takes 30 seconds, and
    /// about one schedule in 60,000 has four such calls in a row.
    private static let patience = Duration.seconds(1_200)

    private func queue(_ store: any ZooKeeperStore) throws -> MessageQueue {
        try MessageQueue(store: store).creating(with: attributes)
    }

    func sender(_ store: InMemorySession) throws -> any Sender {
        var configuration = QueueProducer.Configuration(whenFull: .wait, sendTimeout: Self.patience)
        configuration.minimumBatch = 1
        return OurSender(
            producer: QueueProducer(try queue(producersStore(store)), configuration: configuration),
            sendsIDs: sendsIDs)
    }

    func receiver(_ store: InMemorySession, prefetch: Int) throws -> any Receiver {
        var configuration = QueueConsumer.Configuration(prefetch: prefetch)
        // One that gives up gives back late, and what it gives back comes out of its order.
        configuration.closingTime = Self.patience
        let consumer = QueueConsumer(try queue(consumersStore(store)), configuration: configuration)
        return OurReceiver(consumer: consumer, messages: consumer.makeAsyncIterator(), effects: effects)
    }

    func recover(_ store: InMemorySession) async throws {
        var configuration = QueueRecovery.Configuration(producerStateRetention: producerStateRetention)
        configuration.cleaningInterval = .seconds(30)
        try await recoveries.of(store) {
            QueueRecovery(try queue(recoverysStore(store)), configuration: configuration)
        }.recover()
    }
}

/// One recovery for each process, which knows what it has seen before.
private final class Recoveries: Sendable {
    private let known = Mutex<[ObjectIdentifier: QueueRecovery]>([:])

    func of(_ store: InMemorySession, _ make: () throws -> QueueRecovery) rethrows -> QueueRecovery {
        try known.withLock { known in
            let recovery = try known[ObjectIdentifier(store)] ?? make()
            known[ObjectIdentifier(store)] = recovery
            return recovery
        }
    }
}

private struct OurSender: Sender {
    let producer: QueueProducer
    let sendsIDs: Bool
    var object: AnyObject? { producer }

    func send(_ payloads: [String]) async -> SendResult {
        do {
            try await producer.send(contentsOf: payloads.map { OutgoingMessage($0, id: sendsIDs ? $0 : nil) })
            return .stored
        } catch {
            return await resolve(error)
        }
    }

    private func resolve(_ error: any Error) async -> SendResult {
        var error = error
        for _ in 0..<5 {
            guard let problem = error as? QueueError else { return .unknown }
            guard problem.code == .outcomeUnknown else { return .refused(problem.description) }
            guard let send = problem.unresolvedSend else { return .unknown }
            do {
                try await producer.resume(send)
                return .stored
            } catch let next {
                error = next
            }
        }
        return .unknown
    }

    func close() async { await producer.close() }
}

private struct OurReceiver: Receiver {
    let consumer: QueueConsumer
    var messages: QueueConsumer.Iterator
    let effects: String?
    var object: AnyObject? { consumer }

    mutating func next(within limit: Duration) async throws -> (any Delivery)? {
        try await messages.next(within: limit).map { OurDelivery(message: $0, effects: effects) }
    }

    func close() async { await consumer.close(gracePeriod: .seconds(1)) }
}

private struct OurDelivery: Delivery {
    let message: QueueMessage
    let effects: String?
    var payload: String { String(decoding: message.payload, as: UTF8.self) }
    var token: Int64 { message.fencingToken }
    var deliveryCount: Int { message.deliveryCount }
    var name: String { message.nodeName }
    var isHeld: Bool { message.leaseState == .held }

    func acknowledge() async -> SettleResult {
        let operations = effects.map { [ZooKeeperOperation.create("\($0)/\(payload)", data: [])] } ?? []
        return await settle { try await message.acknowledge(with: operations) }
    }
    func requeue() async -> SettleResult { await settle { try await message.requeue(reason: "tried") } }
    func deadLetter() async -> SettleResult { await settle { try await message.deadLetter(reason: "tried") } }

    private func settle(_ body: () async throws -> Void) async -> SettleResult {
        var isUnknown = false
        for _ in 0..<3 {
            do {
                try await body()
                return .done
            } catch let error as QueueError {
                switch error.code {
                // Whatever was unknown before, this is certain.
                case .leaseLost: return .lost
                case .outcomeUnknown: isUnknown = true
                // Not applied: tried again.
                case .timedOut, .closed: break
                default: return .wrong("\(error)")
                }
            } catch {
                return .wrong("\(error)")
            }
        }
        return isUnknown ? .unknown : .lost
    }
}
