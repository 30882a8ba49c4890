import ZooKeeper
import ZooKeeperTestKit

/// The algorithm of the legacy Python client. A producer creates an item empty and fills it with a second write. A
/// consumer first writes the message into its own node, then deletes the item, and clears its own node when the delete
/// fails because there is no item.
///
/// The flaw: when the reply to the delete is lost, the repeated delete fails in the same way, and the consumer clears
/// the only copy.
struct LegacyQueue: QueueUnderTest {
    func sender(_ store: InMemorySession) throws -> any Sender { LegacySender(store: store) }
    func receiver(_ store: InMemorySession, prefetch: Int) throws -> any Receiver { LegacyReceiver(store: store) }

    func recover(_ store: InMemorySession) async throws {
        try await FlawedProtocol.createFolders(store)
        for name in try await store.children(of: "/queue/consumers").names {
            let consumer = "/queue/consumers/\(name)"
            if try await store.exists(consumer + "/active") != nil { continue }
            if let node = try await FlawedProtocol.node(store, consumer + "/item"), let data = node.data, !data.isEmpty
            {
                try await FlawedProtocol.ignoringFailure {
                    _ = try await store.create("/queue/partial/item-100-", data: data, mode: .persistentSequential)
                    _ = try await store.set(consumer + "/item", data: [], version: nil)
                }
            }
            try await FlawedProtocol.ignoringFailure {
                _ = try await store.multi([.delete(consumer + "/item"), .delete(consumer)])
            }
        }
        for item in try await store.children(of: "/queue/partial").names {
            guard let node = try await FlawedProtocol.node(store, "/queue/partial/" + item) else { continue }
            try await FlawedProtocol.ignoringFailure {
                _ = try await store.create("/queue/items/item-100-", data: node.data, mode: .persistentSequential)
                try await store.delete("/queue/partial/" + item, version: nil)
            }
        }
    }
}

private struct LegacySender: Sender {
    let store: InMemorySession

    func send(_ payloads: [String]) async -> SendResult {
        do {
            try await FlawedProtocol.createFolders(store)
            for payload in payloads {
                let item = try await FlawedProtocol.retrying {
                    try await store.create("/queue/items/item-100-", data: [], mode: .persistentSequential).path
                }
                _ = try await FlawedProtocol.retrying {
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

private struct LegacyReceiver: Receiver {
    let store: InMemorySession
    var consumer: String?

    mutating func next(within limit: Duration) async throws -> (any Delivery)? {
        try await FlawedProtocol.createFolders(store)
        if consumer == nil {
            let path = try await FlawedProtocol.retrying {
                try await store.create("/queue/consumers/consumer-", data: [], mode: .persistentSequential).path
            }
            try? await FlawedProtocol.retrying {
                _ = try await store.create(path + "/item", data: [], mode: .persistent)
            }
            try? await FlawedProtocol.retrying {
                _ = try await store.create(path + "/active", data: [], mode: .ephemeral)
            }
            consumer = path
        }
        guard let consumer else { return nil }
        let end = store.now + limit
        while true {
            for name in try await store.children(of: "/queue/items").names.sorted() {
                if let delivery = try await claim(name, consumer) { return delivery }
            }
            if store.now >= end { return nil }
            try await store.sleep(for: .milliseconds(500))
        }
    }

    private func claim(_ name: String, _ consumer: String) async throws -> (any Delivery)? {
        guard let node = try await FlawedProtocol.node(store, "/queue/items/" + name), let data = node.data,
            !data.isEmpty
        else { return nil }
        let own = try await FlawedProtocol.retrying {
            try await store.set(consumer + "/item", data: data, version: nil)
        }
        do {
            try await FlawedProtocol.retrying {
                try await store.delete("/queue/items/" + name, version: node.stat.version)
            }
        } catch let error as ZooKeeperError where [.noNode, .badVersion].contains(error.code) {
            _ = try await FlawedProtocol.retrying { try await store.set(consumer + "/item", data: [], version: nil) }
            return nil
        }
        return LegacyDelivery(
            store: store, payload: String(decoding: data, as: UTF8.self), token: own.mzxid, name: name,
            consumer: consumer)
    }

    func close() async {
        guard let consumer else { return }
        try? await FlawedProtocol.retrying { try await store.delete(consumer + "/active", version: nil) }
    }
}

private struct LegacyDelivery: Delivery {
    let store: InMemorySession
    let payload: String
    let token: Int64
    let name: String
    let consumer: String
    var deliveryCount: Int { 1 }
    var isHeld: Bool { false }

    private func clear() async -> SettleResult {
        let cleared = try? await FlawedProtocol.retrying {
            try await store.set(consumer + "/item", data: [], version: nil)
        }
        return cleared == nil ? .unknown : .done
    }

    func acknowledge() async -> SettleResult { await clear() }

    func requeue() async -> SettleResult {
        _ = try? await store.create("/queue/items/item-100-", data: Array(payload.utf8), mode: .persistentSequential)
        return await clear()
    }

    func deadLetter() async -> SettleResult {
        _ = try? await store.create("/queue/dead/" + name, data: Array(payload.utf8), mode: .persistent)
        return await clear()
    }
}
