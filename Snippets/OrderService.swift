// The service of the article Getting started.
// snippet.whole-service
import Logging
import ServiceLifecycle
import UnixSignals
import ZooKeeper
import ZooKeeperQueue

let logger = Logger(label: "orders")
let zookeeper = try ZooKeeperClient(configuration: .init(servers: "127.0.0.1:2181"), logger: logger)
let queue = try MessageQueue(zookeeper, path: "/orders", logger: logger)
try await queue.createIfNeeded(.init(maximumDeliveries: 5))

let worker = QueueWorker(QueueConsumer(queue), concurrency: 4, gracePeriod: .seconds(20)) { order in
    print("Handled", String(decoding: order.payload, as: UTF8.self))
}
let group = ServiceGroup(
    services: [zookeeper, QueueRecovery(queue), worker],
    gracefulShutdownSignals: [.sigint, .sigterm], logger: logger)
try await group.run()
// snippet.end
