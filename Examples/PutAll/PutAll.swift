import ZooKeeper
import ZooKeeperQueue

/// Sends the numbers from 1 to COUNT (500 by default) in order, for `check-all` to check.
///
///     swift run put-all [HOST:PORT [COUNT]]
@main
struct PutAll {
    static func main() async throws {
        let arguments = CommandLine.arguments.dropFirst()
        let servers = arguments.first ?? "127.0.0.1:2181"
        let count = arguments.dropFirst().first.flatMap { Int($0) } ?? 500
        try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { zookeeper in
            let producer = QueueProducer(try MessageQueue(zookeeper, path: "/numbers"))
            for number in 1...count { try await producer.send("\(number)") }
            await producer.close()
            print("stored \(count) numbers")
        }
    }
}
