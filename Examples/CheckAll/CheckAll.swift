import ZooKeeper
import ZooKeeperQueue

/// Consumes the numbers that `put-all` has sent, and checks that each arrives once and that they strictly increase.
///
///     swift run check-all [HOST:PORT [COUNT]]
@main
struct CheckAll {
    struct Mismatch: Error, CustomStringConvertible {
        let description: String
    }

    static func main() async throws {
        let arguments = CommandLine.arguments.dropFirst()
        let servers = arguments.first ?? "127.0.0.1:2181"
        let count = arguments.dropFirst().first.flatMap { Int($0) } ?? 500
        try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { zookeeper in
            let consumer = QueueConsumer(try MessageQueue(zookeeper, path: "/numbers"))
            var messages = consumer.makeAsyncIterator()
            for expected in 1...count {
                guard let message = try await messages.next(within: .seconds(30)) else {
                    throw Mismatch(description: "The number \(expected) did not arrive.")
                }
                let text = String(decoding: message.payload, as: UTF8.self)
                guard Int(text) == expected else {
                    throw Mismatch(description: "\(text) arrived instead of \(expected).")
                }
                try await message.acknowledge()
            }
            if let extra = try await messages.next(within: .zero) {
                let text = String(decoding: extra.payload, as: UTF8.self)
                throw Mismatch(description: "\(text) arrived after the last number.")
            }
            await consumer.close()
            print("received \(count) numbers, each once, strictly increasing")
        }
    }
}
