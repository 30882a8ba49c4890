import ZooKeeper
import ZooKeeperTestKit

/// The queue's protocols in their simplest form, one call at a time, with one flaw: a negative control. Without a flaw
/// it keeps every promise, so the flaw is the cause of every violation.
struct FlawedQueue: QueueUnderTest {
    enum Flaw: String, CaseIterable {
        /// The message is deleted when it is claimed, before the handler runs (Curator's queue without locks, kombu).
        case deletesBeforeHandler
        /// An acknowledgement deletes the message, whichever consumer holds the lease (Curator with lockPath, kazoo).
        case acknowledgesWithoutLease
        /// A claim deletes the item and creates the lease in two operations.
        case claimsInSeparateOperations
        /// A send whose reply was lost is repeated without the version of a producer's node.
        case resendsWithoutProducerNode
        /// A recovery moves the messages of a consumer without a check whether the consumer is alive.
        case recoversLiveConsumers
    }

    let flaw: Flaw?

    func sender(_ store: InMemorySession) throws -> any Sender { FlawedSender(store: store, flaw: flaw) }
    func receiver(_ store: InMemorySession, prefetch: Int) throws -> any Receiver {
        FlawedReceiver(store: store, flaw: flaw)
    }

    func recover(_ store: InMemorySession) async throws {
        try await FlawedProtocol.createFolders(store)
        for name in try await store.children(of: "/queue/consumers").names {
            let consumer = "/queue/consumers/\(name)"
            if flaw != .recoversLiveConsumers, try await store.exists(consumer + "/active") != nil { continue }
            for item in try await FlawedProtocol.children(store, consumer + "/item") {
                guard let node = try await FlawedProtocol.node(store, consumer + "/item/" + item) else { continue }
                let guarded: ([ZooKeeperOperation]) -> [ZooKeeperOperation] = { operations in
                    flaw == .recoversLiveConsumers
                        ? operations
                        : [.create(consumer + "/active", data: [])] + operations + [.delete(consumer + "/active")]
                }
                try await FlawedProtocol.ignoringFailure {
                    _ = try await store.multi(
                        guarded([
                            .delete(consumer + "/item/" + item), .create("/queue/partial/" + item, data: node.data),
                        ]))
                }
            }
            let isIncomplete = try await store.exists(consumer + "/item") == nil
            try await FlawedProtocol.ignoringFailure {
                _ = try await store.multi((isIncomplete ? [] : [.delete(consumer + "/item")]) + [.delete(consumer)])
            }
        }
        for item in try await store.children(of: "/queue/partial").names {
            guard let node = try await FlawedProtocol.node(store, "/queue/partial/" + item) else { continue }
            try await FlawedProtocol.ignoringFailure {
                _ = try await store.multi([
                    .delete("/queue/partial/" + item),
                    .create("/queue/items/" + FlawedProtocol.incrementingCount(item), data: node.data),
                ])
            }
        }
        for producer in try await store.children(of: "/queue/producers").names {
            try await FlawedProtocol.ignoringFailure {
                try await store.delete("/queue/producers/" + producer, version: nil)
            }
        }
    }
}

/// Operations that the flawed queue and the legacy queue share.
enum FlawedProtocol {
    static func createFolders(_ store: InMemorySession) async throws {
        for path in ["/queue", "/queue/items", "/queue/partial", "/queue/consumers", "/queue/dead", "/queue/producers"]
        {
            try await retrying {
                do { _ = try await store.create(path, data: [], mode: .persistent) } catch let error as ZooKeeperError
                    where error.code == .nodeExists
                {}
            }
        }
    }

    /// Repeats `body` while its outcome is unknown.
    static func retrying<T>(_ body: () async throws -> T) async throws -> T {
        while true {
            do { return try await body() } catch let error as ZooKeeperError
                where error.outcome == .unknown || error.code == .sessionMoved
            {}
        }
    }

    /// Runs `body`, and ignores its failure, because the next pass reads the tree again.
    static func ignoringFailure(_ body: () async throws -> Void) async throws {
        do { try await body() } catch let error as ZooKeeperError where error.code != .closed {}
    }

    static func children(_ store: InMemorySession, _ path: String) async throws -> [String] {
        do { return try await store.children(of: path).names } catch let error as ZooKeeperError
            where error.code == .noNode
        { return [] }
    }

    static func node(_ store: InMemorySession, _ path: String) async throws -> Node? {
        do { return try await store.get(path) } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }

    /// Returns the name with its delivery count raised by one.
    static func incrementingCount(_ name: String) -> String {
        let parts = name.split(separator: ".")
        return "\(parts[0]).\((parts.count > 1 ? Int(parts[1]) ?? 0 : 0) + 1)"
    }

    static func deliveryCount(_ name: String) -> Int {
        (name.split(separator: ".").dropFirst().first.flatMap { Int($0) } ?? 0) + 1
    }
}

private struct FlawedSender: Sender {
    let store: InMemorySession
    let flaw: FlawedQueue.Flaw?

    func send(_ payloads: [String]) async -> SendResult {
        let producer = "/queue/producers/" + payloads.joined(separator: "-")
        let creates = payloads.map {
            ZooKeeperOperation.create("/queue/items/item-100-", data: Array($0.utf8), mode: .persistentSequential)
        }
        do {
            try await FlawedProtocol.createFolders(store)
            if flaw == .resendsWithoutProducerNode {
                _ = try await FlawedProtocol.retrying { try await store.multi(creates) }
                return .stored
            }
            do {
                try await FlawedProtocol.retrying { _ = try await store.create(producer, data: [], mode: .persistent) }
            } catch let
                error as ZooKeeperError where error.code == .nodeExists
            {}
            try await FlawedProtocol.retrying {
                _ = try await store.multi([.set(producer, data: [], version: 0)] + creates)
            }
        } catch let error as ZooKeeperError where error.code == .badVersion {
            // An earlier attempt was applied.
        } catch {
            return .unknown
        }
        try? await store.delete(producer, version: nil)
        return .stored
    }

    func close() async {}
}

private struct FlawedReceiver: Receiver {
    let store: InMemorySession
    let flaw: FlawedQueue.Flaw?
    var consumer: (path: String, session: Int64)?
    private static let none = ZooKeeperError.Code.noNode

    init(store: InMemorySession, flaw: FlawedQueue.Flaw?) {
        self.store = store
        self.flaw = flaw
    }

    private mutating func register() async throws -> String {
        if let consumer, consumer.session == store.sessionState.sessionID { return consumer.path }
        try await FlawedProtocol.createFolders(store)
        while true {
            let path = try await FlawedProtocol.retrying {
                try await store.create("/queue/consumers/consumer-", data: [], mode: .persistentSequential).path
            }
            do {
                _ = try await store.create(path + "/item", data: [], mode: .persistent)
                let active = try await store.create(path + "/active", data: [], mode: .ephemeral)
                consumer = (path, active.stat.ephemeralOwner)
                return path
            } catch let error as ZooKeeperError
                where error.outcome == .unknown || [Self.none, .sessionMoved].contains(error.code)
            {
                // A recovery removes the incomplete node. An `active` node disappears with the session.
            }
        }
    }

    mutating func next(within limit: Duration) async throws -> (any Delivery)? {
        let end = store.now + limit
        while true {
            do {
                let consumer = try await register()
                for name in try await store.children(of: "/queue/items").names.sorted() {
                    if let delivery = try await claim(name, consumer) { return delivery }
                }
            } catch let error as ZooKeeperError where error.code == .deadlineExceeded {
                // The next pass of the loop reads the items again.
            }
            if store.now >= end { return nil }
            try await store.sleep(for: .milliseconds(500))
        }
    }

    private mutating func claim(_ name: String, _ consumer: String) async throws -> (any Delivery)? {
        let item = "/queue/items/" + name
        let lease = consumer + "/item/" + name
        guard let node = try await FlawedProtocol.node(store, item) else { return nil }
        let payload = String(decoding: node.data ?? [], as: UTF8.self)
        var token = node.stat.mzxid
        do {
            switch flaw {
            case .deletesBeforeHandler: try await store.delete(item, version: node.stat.version)
            case .claimsInSeparateOperations:
                try await store.delete(item, version: node.stat.version)
                token = try await store.create(lease, data: node.data, mode: .persistent).stat.czxid
            default:
                let results = try await store.multi([
                    .check(consumer + "/active"), .set(consumer, data: []),
                    .delete(item, version: node.stat.version), .create(lease, data: node.data),
                ])
                if case .set(let stat) = results[1] { token = stat.mzxid }
            }
        } catch let error as ZooKeeperError where error.outcome == .unknown || error.code == .sessionMoved {
            try await store.sync("/queue")
            if flaw == .deletesBeforeHandler { return nil }
            // The claim was applied if the lease is below the consumer's own node. If it is not, the same item is
            // claimed again, because the order of the messages must stay.
            guard let held = try await FlawedProtocol.node(store, lease) else {
                return try await claim(name, try await register())
            }
            token = held.stat.czxid
        } catch let error as ZooKeeperError where [.noNode, .badVersion, .nodeExists].contains(error.code) {
            return nil
        }
        guard self.consumer?.session == store.sessionState.sessionID else { return nil }
        return FlawedDelivery(
            store: store, flaw: flaw, payload: payload, token: token, name: name, consumer: consumer,
            session: store.sessionState.sessionID)
    }

    func close() async {
        guard let consumer else { return }
        try? await FlawedProtocol.retrying {
            // A recovery moves the messages that the consumer still holds.
            try await store.delete(consumer.path + "/active", version: nil)
        }
    }
}

private struct FlawedDelivery: Delivery {
    let store: InMemorySession
    let flaw: FlawedQueue.Flaw?
    let payload: String
    let token: Int64
    let name: String
    let consumer: String
    let session: Int64
    var deliveryCount: Int { FlawedProtocol.deliveryCount(name) }
    var isHeld: Bool { store.sessionState.sessionID == session && store.sessionState.phase == .connected }
    private var lease: String { consumer + "/item/" + name }

    func acknowledge() async -> SettleResult {
        switch flaw {
        case .deletesBeforeHandler: return .done
        case .acknowledgesWithoutLease:
            await deleteEverywhere()
            return .done
        default: return await settle([])
        }
    }

    /// Deletes the message with this number in every folder.
    private func deleteEverywhere() async {
        let bare = name.prefix { $0 != "." }
        for parent in ["/queue/items", "/queue/partial"] {
            for other in (try? await FlawedProtocol.children(store, parent)) ?? []
            where other.prefix(while: { $0 != "." }) == bare {
                try? await store.delete("\(parent)/\(other)", version: nil)
            }
        }
        for holder in (try? await FlawedProtocol.children(store, "/queue/consumers")) ?? [] {
            let parent = "/queue/consumers/\(holder)/item"
            for other in (try? await FlawedProtocol.children(store, parent)) ?? []
            where other.prefix(while: { $0 != "." }) == bare {
                try? await store.delete("\(parent)/\(other)", version: nil)
            }
        }
    }

    func requeue() async -> SettleResult {
        flaw == .deletesBeforeHandler
            ? .done
            : await settle([
                .create("/queue/items/" + FlawedProtocol.incrementingCount(name), data: Array(payload.utf8))
            ])
    }

    func deadLetter() async -> SettleResult {
        flaw == .deletesBeforeHandler
            ? .done : await settle([.create("/queue/dead/" + name, data: Array(payload.utf8))])
    }

    private func settle(_ operations: [ZooKeeperOperation]) async -> SettleResult {
        var isUnresolved = false
        while true {
            do {
                _ = try await store.multi([.check(consumer + "/active"), .delete(lease)] + operations)
                return .done
            } catch let error as ZooKeeperError where error.outcome == .unknown || error.code == .sessionMoved {
                isUnresolved = isUnresolved || error.outcome == .unknown
            } catch let error as ZooKeeperError where error.code == .noNode && error.operationIndex == 1 {
                return isUnresolved ? .done : .lost
            } catch {
                return isUnresolved ? .unknown : .lost
            }
        }
    }
}
