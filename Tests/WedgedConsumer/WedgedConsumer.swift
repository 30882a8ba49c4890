import Foundation
import ZooKeeper
import ZooKeeperQueue

/// Receives a message of the queue at the default path, prints its payload, and then blocks every thread on which Swift
/// tasks run. The threads of the C client keep the session alive.
@main
struct WedgedConsumer {
    static func main() async throws {
        let servers = ProcessInfo.processInfo.environment["ZOOKEEPER_CONNECT"] ?? "127.0.0.1:2181"
        try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { client in
            var messages = QueueConsumer(try MessageQueue(client)).makeAsyncIterator()
            guard let message = try await messages.next() else { return }
            try FileHandle.standardOutput.write(contentsOf: message.payload + Array("\n".utf8))
            await withDiscardingTaskGroup { group in
                // The pool has as many threads as the machine has processors.
                for _ in 0..<2 * ProcessInfo.processInfo.activeProcessorCount {
                    group.addTask { while true { sleep(1_000) } }
                }
            }
        }
    }
}
