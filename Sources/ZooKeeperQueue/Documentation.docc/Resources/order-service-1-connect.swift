import Logging
import ZooKeeper

@main
struct OrderService {
    static func main() async throws {
        let servers = CommandLine.arguments.dropFirst().first ?? "127.0.0.1:2181"
        let logger = Logger(label: "orders")
        try await ZooKeeperClient.withClient(configuration: .init(servers: servers), logger: logger) { zookeeper in
            let names = try await zookeeper.children(of: "/").names
            print("Connected. The nodes below the root are: \(names.sorted())")
        }
    }
}
