import LoadSupport
import ZooKeeper
import ZooKeeperQueue

/// Many consumers that wait at an empty queue, each with a separate session.
struct IdleCrowd {
    let servers: String
    let path: String
    let count: Int

    /// Measures the consumers' requests to the ensemble while nothing happens, and for one message.
    func measure(_ load: Load) async throws -> [String: Double] {
        let counts = RequestCounts()
        let clients = try (0..<count).map { _ in
            try ZooKeeperClient(configuration: .init(servers: servers), metricsFactory: counts)
        }
        let (deliveries, report) = AsyncStream.makeStream(of: ContinuousClock.Instant.self)
        var notes: [String: Double] = [:]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for client in clients {
                group.addTask {
                    for try await message in QueueConsumer(try MessageQueue(client, path: path)) {
                        report.yield(.now)
                        try await message.acknowledge()
                    }
                }
            }
            // The sleeps are the measured periods, in which nothing happens. The first lets each consumer
            // take its position in the wait queue.
            try await Task.sleep(for: .seconds(5))
            notes["requests to begin"] = total(counts.take())
            // The idle period whose requests are counted.
            try await Task.sleep(for: .seconds(5))
            notes["requests in 5 idle seconds"] = total(counts.take())
            let start = ContinuousClock.now
            try await QueueProducer(load.queue).send(load.payload)
            if let end = await deliveries.first(where: { _ in true }) {
                notes["milliseconds to the message"] = start.duration(to: end) / .milliseconds(1)
            }
            // Long enough for every request that the message causes, and shorter than the time after which the
            // consumer joins the wait queue again.
            try await Task.sleep(for: .milliseconds(900))
            for (kind, number) in counts.take() { notes["\(kind) for one message"] = Double(number) }
            // Another idle period.
            try await Task.sleep(for: .seconds(5))
            for (kind, number) in counts.take() { notes["\(kind) afterwards"] = Double(number) }
            group.cancelAll()
            while let result = await group.nextResult() { _ = result }
        }
        for client in clients { await client.close() }
        return notes
    }

    private func total(_ counts: [String: Int]) -> Double { Double(counts.values.reduce(0, +)) }
}
