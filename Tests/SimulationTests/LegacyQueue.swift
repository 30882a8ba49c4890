import ZooKeeper
import ZooKeeperTestKit

/// The Python ancestor's algorithm: items are created empty and filled by a second write; a consumer first writes the
/// message into its own node, then deletes the item, and blanks its node when the delete says that there is no item.
///
/// A delete whose answer was lost and that is repeated says so too, and the only copy is blanked.
struct LegacyQueue: Subject {
    func sender(_ store: InMemorySession) throws -> any Sender { AncestorSender(store: store) }
    func receiver(_ store: InMemorySession, prefetch: Int) throws -> any Receiver { AncestorReceiver(store: store) }

    func recover(_ store: InMemorySession) async throws {
        try await FlawedProtocol.prepare(store)
        for name in try await store.children(of: "/queue/consumers").names {
            let consumer = "/queue/consumers/\(name)"
            if try await store.exists(consumer + "/active") != nil { continue }
            if let node = try await FlawedProtocol.node(store, consumer + "/item"), let data = node.data, !data.isEmpty
            {
                try await FlawedProtocol.attempt {
                    _ = try await store.create("/queue/partial/item-100-", data: data, mode: .persistentSequential)
                    _ = try await store.set(consumer + "/item", data: [], version: nil)
                }
            }
            try await FlawedProtocol.attempt {
                _ = try await store.multi([.delete(consumer + "/item"), .delete(consumer)])
            }
        }
        for item in try await store.children(of: "/queue/partial").names {
            guard let node = try await FlawedProtocol.node(store, "/queue/partial/" + item) else { continue }
            try await FlawedProtocol.attempt {
                _ = try await store.create("/queue/items/item-100-", data: node.data, mode: .persistentSequential)
                try await store.delete("/queue/partial/" + item, version: nil)
            }
        }
    }
}

private struct AncestorSender: Sender {
    let store: InMemorySession

    func send(_ payloads: [String]) async -> SendResult {
        do {
            try await FlawedProtocol.prepare(store)
            for payload in payloads {
                let item = try await FlawedProtocol.again {
                    try await store.create("/queue/items/item-100-", data: [], mode: .persistentSequential).path
                }
                _ = try await FlawedProtocol.again {
                    try await store.set(item, data: Array(payload.utf8), version: nil)
                }
            }
            return .stored
        } catch {
            return .unknown
        }
    }

    func close() async {}
}

private struct AncestorReceiver: Receiver {
    let store: InMemorySession
    var consumer: String?

    mutating func next(within limit: Duration) async throws -> (any Delivery)? {
        try await FlawedProtocol.prepare(store)
        if consumer == nil {
            let path = try await FlawedProtocol.again {
                try await store.create("/queue/consumers/consumer-", data: [], mode: .persistentSequential).path
            }
            try? await FlawedProtocol.again { _ = try await store.create(path + "/item", data: [], mode: .persistent) }
            try? await FlawedProtocol.again { _ = try await store.create(path + "/active", data: [], mode: .ephemeral) }
            consumer = path
        }
        guard let consumer else { return nil }
        let end = store.now + limit
        while true {
            for name in try await store.children(of: "/queue/items").names.sorted() {
                if let delivery = try await take(name, consumer) { return delivery }
            }
            if store.now >= end { return nil }
            try await store.sleep(for: .milliseconds(500))
        }
    }

    private func take(_ name: String, _ consumer: String) async throws -> (any Delivery)? {
        guard let node = try await FlawedProtocol.node(store, "/queue/items/" + name), let data = node.data,
            !data.isEmpty
        else { return nil }
        let own = try await FlawedProtocol.again { try await store.set(consumer + "/item", data: data, version: nil) }
        do {
            try await FlawedProtocol.again {
                try await store.delete("/queue/items/" + name, version: node.stat.version)
            }
        } catch let error as ZooKeeperError where [.noNode, .badVersion].contains(error.code) {
            _ = try await FlawedProtocol.again { try await store.set(consumer + "/item", data: [], version: nil) }
            return nil
        }
        return AncestorDelivery(
            store: store, payload: String(decoding: data, as: UTF8.self), token: own.mzxid, name: name,
            consumer: consumer)
    }

    func close() async {
        guard let consumer else { return }
        try? await FlawedProtocol.again { try await store.delete(consumer + "/active", version: nil) }
    }
}

private struct AncestorDelivery: Delivery {
    let store: InMemorySession
    let payload: String
    let token: Int64
    let name: String
    let consumer: String
    var deliveryCount: Int { 1 }
    var isHeld: Bool { false }

    private func end() async -> SettleResult {
        let blanked = try? await FlawedProtocol.again {
            try await store.set(consumer + "/item", data: [], version: nil)
        }
        return blanked == nil ? .unknown : .done
    }

    func acknowledge() async -> SettleResult { await end() }

    func requeue() async -> SettleResult {
        _ = try? await store.create("/queue/items/item-100-", data: Array(payload.utf8), mode: .persistentSequential)
        return await end()
    }

    func deadLetter() async -> SettleResult {
        _ = try? await store.create("/queue/dead/" + name, data: Array(payload.utf8), mode: .persistent)
        return await end()
    }
}
