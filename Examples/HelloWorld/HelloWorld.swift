import ZooKeeper
import ZooKeeperQueue

/// Sends one message and receives it.
///
///     swift run hello-world [HOST:PORT]
@main
struct HelloWorld {
    static func main() async throws {
        let servers = CommandLine.arguments.dropFirst().first ?? "127.0.0.1:2181"
        try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { zookeeper in
            let queue = try MessageQueue(zookeeper, path: "/hello")

            let producer = QueueProducer(queue)
            let receipt = try await producer.send("Hello, world")
            print("stored as \(receipt.nodeName ?? "?")")
            await producer.close()

            for try await message in QueueConsumer(queue) {
                print("received: \(String(decoding: message.payload, as: UTF8.self))")
                try await message.acknowledge()
                break
            }
        }
    }
}
