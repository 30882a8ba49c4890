import Foundation
import InMemoryTracing
import Logging
import ServiceLifecycle
import Tracing
import UnixSignals
import ZooKeeper
import ZooKeeperJobs
import ZooKeeperQueue

/// A card is charged once the order is placed. The bank fails at first, so the job is retried.
struct ChargeCard: Job {
    static let name = "charge-card"
    var order: Int
    var customer: String
}

/// Orders of one customer are packed one after the other.
struct PackOrder: Job {
    static let name = "pack-order"
    var order: Int
}

/// The invoices of a day are a batch.
struct SendInvoice: Job {
    static let name = "send-invoice"
    var order: Int
}

/// Follows when all invoices of the batch are sent.
struct CloseDay: Job {
    static let name = "close-day"
    var orders: Int
}

/// A schedule pushes it, from any number of processes, once for each tick.
struct CheckStock: Job {
    static let name = "check-stock"
    var at: Date
}

struct BankIsBusy: Error {}

/// An order service: typed jobs that are retried, scheduled, ordered per customer and batched, in one service group.
/// It ends when the day is closed, or at SIGINT and SIGTERM, and prints the traces of its jobs.
///
///     swift run orders [HOST:PORT]
@main
struct Orders {
    static func main() async throws {
        let tracer = InMemoryTracer()
        InstrumentationSystem.bootstrap(tracer)
        let servers = CommandLine.arguments.dropFirst().first ?? "127.0.0.1:2181"
        let logger = Logger(label: "orders")
        let zookeeper = try ZooKeeperClient(configuration: .init(servers: servers), logger: logger)
        let queue = try MessageQueue(zookeeper, path: "/order-jobs", logger: logger)
        let jobs = JobQueue(queue)
        let orders = 6
        let (stockChecks, stockChecked) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingOldest(1))
        let (days, dayIsOver) = AsyncStream.makeStream(of: Void.self)

        let worker = JobWorker(jobs, concurrency: 8)
            .handle(ChargeCard.self, retry: .constant(.milliseconds(200)), timeout: .seconds(10), concurrency: 2) {
                job, context in
                if job.order == 1, context.attempt == 1 { throw BankIsBusy() }
                // Both are stored, or neither: the order is packed once, however often this handler runs.
                try await context.pushOnCompletion(PackOrder(order: job.order), .init(group: job.customer))
            }
            .handle(PackOrder.self) { job, context in context.logger.info("Packed order \(job.order)") }
            .handle(SendInvoice.self) { _, _ in }
            .handle(CloseDay.self) { job, context in
                context.logger.info("Closed the day with \(job.orders) invoices")
                dayIsOver.finish()
            }
            .handle(CheckStock.self) { _, _ in stockChecked.yield() }
            .use(LoggingMiddleware(level: .debug))
        let stock = JobSchedule(jobs, "check-stock", try .every(.seconds(1))) { CheckStock(at: $0) }
        // The client is the first service, because the first one is closed last.
        let group = ServiceGroup(
            services: [zookeeper, QueueRecovery(queue), worker, stock],
            gracefulShutdownSignals: [.sigint, .sigterm], logger: logger)

        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            tasks.addTask {
                for order in 1...orders {
                    let job = ChargeCard(order: order, customer: "customer-\(order % 2)")
                    // A second push of the same order, by any process, stores nothing until the first one is done.
                    try await jobs.push(job, .init(unique: .until(.done, key: "\(order)")))
                }
                let invoices = (1...orders).map { SendInvoice(order: $0) }
                try await jobs.push(batch: invoices, then: CloseDay(orders: orders))
                for await _ in days {}
                for await _ in stockChecks { break }
                // A poll, because no event says that a queue with delayed messages is empty.
                while try await !isEmpty(queue) { try await Task.sleep(for: .milliseconds(100)) }
                await jobs.close()
                await group.triggerGracefulShutdown()
            }
            try await tasks.waitForAll()
        }
        for span in tracer.finishedSpans where span.kind == .consumer {
            let sender = span.links.first?.context.inMemorySpanContext?.traceID ?? "none"
            print("\(span.operationName), sent by the trace \(sender), failed: \(!span.errors.isEmpty)")
        }
    }

    private static func isEmpty(_ queue: MessageQueue) async throws -> Bool {
        let statistics = try await queue.statistics()
        return statistics.ready + statistics.leased + statistics.delayed + statistics.groups == 0
    }
}
