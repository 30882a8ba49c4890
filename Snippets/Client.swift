// The code of the client's documentation, and what other articles do with a client.
import ZooKeeper

func overview() async throws {
    // snippet.overview
    try await ZooKeeperClient.withClient(configuration: .init(servers: "10.0.0.1:2181,10.0.0.2:2181")) { zookeeper in
        try await zookeeper.create("/config", data: Array("v1".utf8))
        for try await node in zookeeper.dataUpdates(of: "/config") {
            // Now, and after each change; `nil` while the node does not exist.
            print(node as Any)
        }
    }
    // snippet.end
}

func zooKeeperClient() async throws {
    // snippet.client
    try await ZooKeeperClient.withClient(configuration: .init(servers: "127.0.0.1:2181")) { zookeeper in
        try await zookeeper.create("/greeting", data: Array("hello".utf8))
        for try await node in zookeeper.dataUpdates(of: "/greeting") { print(node as Any) }
    }
    // snippet.end
}

func accessControl(_ password: String) throws {
    // snippet.access-control
    let configuration = try ZooKeeperConfiguration(
        servers: "10.0.0.1:2181,10.0.0.2:2181,10.0.0.3:2181",
        authentication: .digest(user: "orders", password: password), defaultACL: .creatorOnly)
    // snippet.end
    _ = configuration
}

func moveEntries(_ zookeeper: ZooKeeperClient) async throws {
    // snippet.move-entries
    for name in try await zookeeper.children(of: "/old/entries").names.sorted() {
        let path = "/old/entries/\(name)"
        let entry = try await zookeeper.get(path)
        let priority = name.dropFirst("entry-".count).prefix(3)
        try await zookeeper.multi([
            .delete(path, version: entry.stat.version),
            .create("/orders/items/item-\(priority)-", data: entry.data, mode: .persistentSequential),
        ])
    }
    // snippet.end
}
