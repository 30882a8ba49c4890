import Benchmark
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// Measures the work of the library for a message. The tree is in memory, because without a network and a disk the
/// figures of two versions can be compared.
let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        metrics: [.cpuTotal, .wallClock, .throughput, .peakMemoryResident], warmupIterations: 1,
        maxDuration: .seconds(5), maxIterations: 100)
    let messages = (0..<1_000).map { OutgoingMessage("message \($0)") }

    for perNode in [1, 64] {
        Benchmark("put and take 1,000, \(perNode) in a node") { benchmark in
            for _ in benchmark.scaledIterations {
                let zookeeper = InMemoryZooKeeper()
                let store = zookeeper.connect()
                let queue = try MessageQueue(store: store)
                try await queue.createIfNeeded(.init(maximumBatchSize: perNode))
                let producer = QueueProducer(queue)
                try await producer.send(contentsOf: messages)
                await producer.close()
                let consumer = QueueConsumer(queue)
                var iterator = consumer.makeAsyncIterator()
                while let message = try await iterator.next(within: .zero) { try await message.acknowledge() }
                await consumer.close()
                store.close()
            }
        }
    }
}
