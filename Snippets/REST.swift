// The code of the documentation of the queue over REST.
import ZooKeeperQueue
import ZooKeeperREST

func overview() async throws {
    // snippet.overview
    let zookeeper = try RESTNodeStore(.init(gateways: ["http://127.0.0.1:9998"]))
    let queue = try MessageQueue(store: zookeeper, path: "/queue")
    try await QueueProducer(queue).send("hello")
    // snippet.end
}

func restNodeStore() throws {
    // snippet.store
    let zookeeper = try RESTNodeStore(.init(gateways: ["http://127.0.0.1:9998"]))
    let queue = try MessageQueue(store: zookeeper, path: "/queue")
    // snippet.end
    _ = queue
}

func overHTTPS() throws {
    // snippet.https
    let zookeeper = try RESTNodeStore(.init(gateways: ["https://gateway.example:9998"]))
    let queue = try MessageQueue(store: zookeeper, path: "/queue")
    // snippet.end
    _ = queue
}
