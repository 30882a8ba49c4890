// The code of the documentation of the ZooKeeper in memory.
import ZooKeeperQueue
import ZooKeeperTestKit

// Stands for the application's code.
func handle(_ message: QueueMessage) async throws {}

func overview() throws {
    // snippet.overview
    let zookeeper = InMemoryZooKeeper()
    let queue = try MessageQueue(store: zookeeper.connect(), path: "/queue")
    // snippet.end
    _ = queue
}

func fault(_ zookeeper: InMemoryZooKeeper) {
    // snippet.fault
    // The third call is applied, and its answer is lost.
    let session = zookeeper.connect(faults: { $0.number == 3 ? .replyLost : nil })
    // snippet.end
    session.close()
}

func virtualTime() async {
    // snippet.virtual-time
    let clock = VirtualClock()
    let session = InMemoryZooKeeper(clock: clock).connect(sessionTimeout: .seconds(10))
    session.disconnect(for: .seconds(20))
    await clock.advance(by: .seconds(3_600))
    // snippet.end
}

func queueWithFaults() throws {
    // snippet.queue-with-faults
    let zookeeper = InMemoryZooKeeper()
    let session = zookeeper.connect(faults: { $0.number == 3 ? .replyLost : nil })
    let queue = try MessageQueue(store: session, path: "/queue")
    // snippet.end
    _ = queue
}

func handlerTest() async throws {
    // snippet.handlers-test
    let queue = try MessageQueue(store: InMemoryZooKeeper().connect(), path: "/orders")
    try await QueueProducer(queue).send("order 42")
    try await queue.withConsumer { orders in
        for try await order in orders {
            try await order.process { try await handle($0) }
            break
        }
    }
    let statistics = try await queue.statistics()
    // snippet.end
    _ = statistics
}
