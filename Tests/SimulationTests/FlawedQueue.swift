import ZooKeeper
import ZooKeeperTestKit

/// The queue's protocols in their plainest form, one call at a time, with one step done wrong: a negative control. With
/// no flaw it keeps every promise, so whatever is found is the flaw's doing.
struct FlawedQueue: Subject {
    enum Flaw: String, CaseIterable {
        /// The message is deleted when it is taken, before the handler runs (Curator's queue without locks, kombu).
        case deletesBeforeHandler
        /// An acknowledgement deletes the message wherever it is, whoever has its lease (Curator with lockPath, kazoo).
        case acknowledgesWithoutLease
        /// A claim deletes the item and creates the lease as two operations.
        case claimsInSeparateSteps
        /// A send whose answer was lost is repeated as it is.
        case resendsWithoutLane
        /// A recovery takes what consumers hold, and does not ask whether they live.
        case recoversTheLiving
    }

    let flaw: Flaw?

    func sender(_ store: InMemorySession) throws -> any Sender { SketchSender(store: store, flaw: flaw) }
    func receiver(_ store: InMemorySession, prefetch: Int) throws -> any Receiver {
        SketchReceiver(store: store, flaw: flaw)
    }

    func recover(_ store: InMemorySession) async throws {
        try await FlawedProtocol.prepare(store)
        for name in try await store.children(of: "/queue/consumers").names {
            let consumer = "/queue/consumers/\(name)"
            if flaw != .recoversTheLiving, try await store.exists(consumer + "/active") != nil { continue }
            for item in try await FlawedProtocol.children(store, consumer + "/item") {
                guard let node = try await FlawedProtocol.node(store, consumer + "/item/" + item) else { continue }
                let guarded: ([ZooKeeperOperation]) -> [ZooKeeperOperation] = { steps in
                    flaw == .recoversTheLiving
                        ? steps
                        : [.create(consumer + "/active", data: [])] + steps + [.delete(consumer + "/active")]
                }
                try await FlawedProtocol.attempt {
                    _ = try await store.multi(
                        guarded([
                            .delete(consumer + "/item/" + item), .create("/queue/partial/" + item, data: node.data),
                        ]))
                }
            }
            let isHalfMade = try await store.exists(consumer + "/item") == nil
            try await FlawedProtocol.attempt {
                _ = try await store.multi((isHalfMade ? [] : [.delete(consumer + "/item")]) + [.delete(consumer)])
            }
        }
        for item in try await store.children(of: "/queue/partial").names {
            guard let node = try await FlawedProtocol.node(store, "/queue/partial/" + item) else { continue }
            try await FlawedProtocol.attempt {
                _ = try await store.multi([
                    .delete("/queue/partial/" + item),
                    .create("/queue/items/" + FlawedProtocol.next(item), data: node.data),
                ])
            }
        }
        for producer in try await store.children(of: "/queue/producers").names {
            try await FlawedProtocol.attempt { try await store.delete("/queue/producers/" + producer, version: nil) }
        }
    }
}

/// Steps that the sketches share.
enum FlawedProtocol {
    static func prepare(_ store: InMemorySession) async throws {
        for path in ["/queue", "/queue/items", "/queue/partial", "/queue/consumers", "/queue/dead", "/queue/producers"]
        {
            try await again {
                do { _ = try await store.create(path, data: [], mode: .persistent) } catch let error as ZooKeeperError
                    where error.code == .nodeExists
                {}
            }
        }
    }

    /// Repeats what had no answer.
    static func again<T>(_ body: () async throws -> T) async throws -> T {
        while true {
            do { return try await body() } catch let error as ZooKeeperError
                where error.outcome == .unknown || error.code == .sessionMoved
            {}
        }
    }

    /// Lets the next look find what became of it.
    static func attempt(_ body: () async throws -> Void) async throws {
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

    /// The name with its count raised.
    static func next(_ name: String) -> String {
        let parts = name.split(separator: ".")
        return "\(parts[0]).\((parts.count > 1 ? Int(parts[1]) ?? 0 : 0) + 1)"
    }

    static func count(_ name: String) -> Int {
        (name.split(separator: ".").dropFirst().first.flatMap { Int($0) } ?? 0) + 1
    }
}

private struct SketchSender: Sender {
    let store: InMemorySession
    let flaw: FlawedQueue.Flaw?

    func send(_ payloads: [String]) async -> SendResult {
        let producer = "/queue/producers/" + payloads.joined(separator: "-")
        let creates = payloads.map {
            ZooKeeperOperation.create("/queue/items/item-100-", data: Array($0.utf8), mode: .persistentSequential)
        }
        do {
            try await FlawedProtocol.prepare(store)
            if flaw == .resendsWithoutLane {
                _ = try await FlawedProtocol.again { try await store.multi(creates) }
                return .stored
            }
            do {
                try await FlawedProtocol.again { _ = try await store.create(producer, data: [], mode: .persistent) }
            } catch let
                error as ZooKeeperError where error.code == .nodeExists
            {}
            try await FlawedProtocol.again {
                _ = try await store.multi([.set(producer, data: [], version: 0)] + creates)
            }
        } catch let error as ZooKeeperError where error.code == .badVersion {
            // Applied before.
        } catch {
            return .unknown
        }
        try? await store.delete(producer, version: nil)
        return .stored
    }

    func close() async {}
}

private struct SketchReceiver: Receiver {
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
        try await FlawedProtocol.prepare(store)
        while true {
            let path = try await FlawedProtocol.again {
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
                // The node without use is a recovery's to remove; an active one goes with the session.
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
                // Looked at again.
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
            case .claimsInSeparateSteps:
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
            // Ours is what stands below our own node, while its session lives.
            if flaw == .deletesBeforeHandler { return nil }
            // Not there, the item is still the first to be tried for, unless the session has ended.
            guard let held = try await FlawedProtocol.node(store, lease) else {
                return try await claim(name, try await register())
            }
            token = held.stat.czxid
        } catch let error as ZooKeeperError where [.noNode, .badVersion, .nodeExists].contains(error.code) {
            return nil
        }
        guard self.consumer?.session == store.sessionState.sessionID else { return nil }
        return SketchDelivery(
            store: store, flaw: flaw, payload: payload, token: token, name: name, consumer: consumer,
            session: store.sessionState.sessionID)
    }

    func close() async {
        guard let consumer else { return }
        try? await FlawedProtocol.again {
            // What it still holds, a recovery finds.
            try await store.delete(consumer.path + "/active", version: nil)
        }
    }
}

private struct SketchDelivery: Delivery {
    let store: InMemorySession
    let flaw: FlawedQueue.Flaw?
    let payload: String
    let token: Int64
    let name: String
    let consumer: String
    let session: Int64
    var deliveryCount: Int { FlawedProtocol.count(name) }
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

    /// The message with this number, wherever it is.
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
            ? .done : await settle([.create("/queue/items/" + FlawedProtocol.next(name), data: Array(payload.utf8))])
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
