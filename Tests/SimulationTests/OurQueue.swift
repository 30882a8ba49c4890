import Synchronization
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// The queue of this package.
struct OurQueue: QueueUnderTest {
    var attributes = QueueAttributes()
    var producerStateRetention = Duration.seconds(1)
    /// The folder in which each acknowledgement creates a node named after its message, in the same transaction.
    var effects: String?
    var copies = Copies.none
    var delay = Duration.zero
    var requeueDelay = Duration.zero
    /// How long after its send a message expires.
    var expiry: Duration?
    var leaseTimeout: Duration? { attributes.leaseTimeout }
    /// The groups of the messages.
    var groups = Groups.none
    /// Returns `nil` if a message can leave its group, because then the order does not hold.
    func group(of payload: String) -> String? { attributes.retryBlocksGroup ? groups.key(of: payload) : nil }
    /// Whether each message is sent with its payload as its id.
    var sendsIDs = false
    /// The store of producers.
    var producerStore: @Sendable (InMemorySession) -> any ZooKeeperStore = { $0 }
    /// The store of recoveries.
    var recoveryStore: @Sendable (InMemorySession) -> any ZooKeeperStore = { $0 }
    /// The store of consumers.
    var consumerStore: @Sendable (InMemorySession) -> any ZooKeeperStore = { $0 }

    private let recoveries = Recoveries()
    /// A timeout that is longer than any series of faults in a schedule. A call whose reply is too late takes 30
    /// seconds, and about one schedule in 60,000 has four such calls in a row.
    private static let timeout = Duration.seconds(1_200)

    private func queue(_ store: any ZooKeeperStore) throws -> MessageQueue {
        try MessageQueue(store: store).creating(with: attributes)
    }

    func sender(_ store: InMemorySession) throws -> any Sender {
        if case .whenSent = copies {
            let store = producerStore(store)
            return CopyingSender(
                queue: try queue(store), next: try MessageQueue(store: store, path: "/next"), sendsIDs: sendsIDs,
                delay: delay, expiry: expiry, groups: groups, timeout: .seconds(600))
        }
        var configuration = QueueProducer.Configuration(whenFull: .wait, sendTimeout: Self.timeout)
        configuration.minimumBatch = 1
        return OurSender(
            producer: QueueProducer(try queue(producerStore(store)), configuration: configuration),
            sendsIDs: sendsIDs, delay: delay, expiry: expiry, groups: groups)
    }

    func receiver(_ store: InMemorySession, prefetch: Int) throws -> any Receiver {
        var configuration = QueueConsumer.Configuration(prefetch: prefetch)
        // A consumer that stops trying to requeue leaves its messages to a recovery, which returns them late and out of
        // order.
        configuration.closingTime = Self.timeout
        let consumer = QueueConsumer(try queue(consumerStore(store)), configuration: configuration)
        return OurReceiver(
            consumer: consumer, messages: consumer.makeAsyncIterator(), effects: effects, requeueDelay: requeueDelay,
            copies: copies, next: try MessageQueue(store: consumerStore(store), path: "/next"))
    }

    func recover(_ store: InMemorySession) async throws {
        try await recoveries.recovery(for: store) { try recovery(store) }.recover()
    }

    func keepRecovering(_ store: InMemorySession) async throws { try await recovery(store).run() }

    private func recovery(_ store: InMemorySession) throws -> QueueRecovery {
        var configuration = QueueRecovery.Configuration(producerStateRetention: producerStateRetention)
        configuration.cleaningInterval = .seconds(30)
        return QueueRecovery(try queue(recoveryStore(store)), configuration: configuration)
    }
}

/// The groups of a queue's messages.
enum Groups: Sendable {
    case none
    /// All messages belong to one group.
    case one
    /// Messages with the same first letter belong to one group.
    case byFirstLetter

    func key(of payload: String) -> String? {
        switch self {
        case .none: nil
        case .one: "group"
        case .byFirstLetter: String(payload.prefix(1))
        }
    }
}

/// One recovery for each process, because a recovery remembers its observations of earlier passes.
private final class Recoveries: Sendable {
    private let recoveries = Mutex<[ObjectIdentifier: QueueRecovery]>([:])

    func recovery(
        for store: InMemorySession, _ makeRecovery: () throws -> QueueRecovery
    ) rethrows -> QueueRecovery {
        try recoveries.withLock { recoveries in
            let recovery = try recoveries[ObjectIdentifier(store)] ?? makeRecovery()
            recoveries[ObjectIdentifier(store)] = recovery
            return recovery
        }
    }
}

private struct OurSender: Sender {
    let producer: QueueProducer
    let sendsIDs: Bool
    let delay: Duration
    let expiry: Duration?
    let groups: Groups
    var trackedObject: AnyObject? { producer }

    func send(_ payloads: [String]) async -> SendResult {
        do {
            try await producer.send(
                contentsOf: payloads.map {
                    OutgoingMessage(
                        $0, id: sendsIDs ? $0 : nil, delay: delay, expiresAfter: expiry, group: groups.key(of: $0))
                })
            return .stored
        } catch {
            return await resolve(error)
        }
    }

    private func resolve(_ error: any Error) async -> SendResult {
        var error = error
        for _ in 0..<5 {
            guard let queueError = error as? QueueError else { return .unknown }
            guard queueError.code == .outcomeUnknown else { return .refused(queueError.description) }
            guard let send = queueError.unresolvedSend else { return .unknown }
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

private struct CopyingSender: Sender {
    let queue: MessageQueue
    let next: MessageQueue
    let sendsIDs: Bool
    let delay: Duration
    let expiry: Duration?
    let groups: Groups
    let timeout: Duration

    func send(_ payloads: [String]) async -> SendResult {
        do {
            let receipts = try await queue.transaction(timeout: timeout) { transaction in
                for payload in payloads {
                    transaction.send(
                        .init(
                            payload, id: sendsIDs ? payload : nil, delay: delay, expiresAfter: expiry,
                            group: groups.key(of: payload)), to: queue)
                    transaction.send(.init(payload, id: sendsIDs ? payload : nil), to: next)
                }
            }
            return receipts.count == 2 * payloads.count ? .stored : .refused("\(receipts.count) receipts")
        } catch let error as QueueError where error.code == .outcomeUnknown {
            return .unknown
        } catch {
            return .refused("\(error)")
        }
    }

    func close() async {}
}

private struct OurReceiver: Receiver {
    let consumer: QueueConsumer
    var messages: QueueConsumer.Iterator
    let effects: String?
    let requeueDelay: Duration
    let copies: Copies
    let next: MessageQueue
    var trackedObject: AnyObject? { consumer }

    mutating func next(within limit: Duration) async throws -> (any Delivery)? {
        try await messages.next(within: limit).map {
            OurDelivery(message: $0, effects: effects, requeueDelay: requeueDelay, copies: copies, next: next)
        }
    }

    func close() async { await consumer.close(gracePeriod: .seconds(1)) }
}

private struct OurDelivery: Delivery {
    let message: QueueMessage
    let effects: String?
    let requeueDelay: Duration
    let copies: Copies
    let next: MessageQueue
    var payload: String { String(decoding: message.payload, as: UTF8.self) }
    var token: Int64 { message.fencingToken }
    var deliveryCount: Int { message.deliveryCount }
    var name: String { message.nodeName }
    var expiresAt: Int64? { message.expiresAt?.millisecondsSince1970 }
    var isHeld: Bool { message.leaseState == .held }

    func acknowledge() async -> SettleResult {
        let operations = effects.map { [ZooKeeperOperation.create("\($0)/\(payload)", data: [])] } ?? []
        let copy = OutgoingMessage(payload, id: message.id)
        switch copies {
        case .whenAcknowledged:
            return await settle { try await message.acknowledge(sending: [copy], to: next, with: operations) }
        case .afterAcknowledging:
            let result = await settle { try await message.acknowledge(with: operations) }
            if case .done = result { _ = try? await next.transaction { $0.send(copy, to: next) } }
            return result
        case .none, .whenSent: return await settle { try await message.acknowledge(with: operations) }
        }
    }
    func requeue() async -> SettleResult {
        await settle { try await message.requeue(after: requeueDelay, reason: "tried") }
    }
    func deadLetter() async -> SettleResult { await settle { try await message.deadLetter(reason: "tried") } }

    private func settle(_ body: () async throws -> Void) async -> SettleResult {
        var isUnknown = false
        for _ in 0..<3 {
            do {
                try await body()
                return .done
            } catch let error as QueueError {
                switch error.code {
                // This outcome is certain, even if an earlier attempt had an unknown one.
                case .leaseLost: return .lost
                case .outcomeUnknown: isUnknown = true
                // The settlement was not applied, so it is repeated.
                case .timedOut, .closed: break
                default: return .unexpected("\(error)")
                }
            } catch {
                return .unexpected("\(error)")
            }
        }
        return isUnknown ? .unknown : .lost
    }
}
