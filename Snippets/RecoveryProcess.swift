// The recovery process of the article Operating, for a queue with access control.
// snippet.recovery-process
import Foundation
import Logging
import ServiceLifecycle
import UnixSignals
import ZooKeeper
import ZooKeeperQueue

let password = ProcessInfo.processInfo.environment["ORDERS_PASSWORD"] ?? ""
let configuration = try ZooKeeperConfiguration(
    servers: "zk1:2181,zk2:2181,zk3:2181",
    authentication: .digest(user: "orders", password: password), defaultACL: .creatorOnly)
let logger = Logger(label: "recovery")
let zookeeper = try ZooKeeperClient(configuration: configuration, logger: logger)
let queue = try MessageQueue(zookeeper, path: "/orders", createIfMissing: false, logger: logger)
let group = ServiceGroup(
    services: [zookeeper, QueueRecovery(queue)],
    gracefulShutdownSignals: [.sigint, .sigterm], logger: logger)
try await group.run()
// snippet.end
