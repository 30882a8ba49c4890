import Foundation
import Logging
import QueueHistory
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperServer

/// A run: servers, workers, faults, and the check at the end.
struct TestRun: Sendable {
    let title: String
    var servers = 5
    var heap = 192
    var sessionTimeout = Duration.seconds(4)
    /// The number of processes of each role.
    var producers = 1
    var consumers = 1
    var recoveries = 1
    /// The number of messages of each producer. With `nil`, producers send until the faults have ended.
    var messages: Int?
    /// The pause of a producer's task after each message, in milliseconds.
    var rest = 0
    /// The number of concurrent tasks in each producer and consumer.
    var concurrency = 1
    /// The number of messages that a node may hold.
    var maximumBatchSize = 1
    /// What connects the workers to the servers.
    var transport = WorkerTransport.cclient
    /// Whether servers join and leave.
    var isReconfigurable = false
    /// Whether to check the order of the messages too, which needs a single producer and a single consumer.
    var isOrdered = false
    var seed: UInt64

    /// Runs the workers while `inject` injects faults, and checks every promise at the end.
    ///
    /// - Parameter inject: injects faults, and returns when it has injected all.
    /// - Returns: whether every promise was kept, and if not, whether the queue or the servers have failed.
    func run(_ inject: @escaping @Sendable (inout Nemesis) async throws -> Void) async throws -> Verdict {
        printLine(
            "\n\(title): \(servers) servers, \(producers) producers, \(consumers) consumers, \(recoveries) recoveries, \(maximumBatchSize) messages a node, transport \(transport.rawValue); seed \(seed)"
        )
        let folder = FileManager.default.temporaryDirectory.appending(path: "faults-\(UUID().uuidString)").path()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let outcome = Outcome()
        let make = isReconfigurable ? TestCluster.withReconfigurableServers : TestCluster.with
        try await make(servers, heap, transport) { cluster in
            try await run(at: cluster, folder: folder, outcome, inject)
        }
        return await outcome.verdict
    }

    private func run(
        at cluster: TestCluster, folder: String, _ outcome: Outcome,
        _ inject: @Sendable (inout Nemesis) async throws -> Void
    ) async throws {
        // The runner's own client connects to the servers directly, without the proxies.
        try await ZooKeeperClient.withClient(
            configuration: try ZooKeeperConfiguration(servers: cluster.ensemble.connectString), logger: Self.silent
        ) { client in
            let queue = try MessageQueue(client, logger: Self.silent)
                .creating(with: Worker.attributes)
            try await queue.update { $0.maximumBatchSize = maximumBatchSize }
            let ownHistory = try HistoryFile(path: folder + "/runner.history", process: "runner")
            for data in ForeignNodes.messages { ownHistory.write(.sending, String(decoding: data, as: UTF8.self)) }
            try await ForeignNodes.create(client)
            for data in ForeignNodes.messages { ownHistory.write(.sent, String(decoding: data, as: UTF8.self)) }

            let pool = try await pool(cluster, folder)
            var nemesis = Nemesis(
                cluster: cluster, pool: pool, durability: Durability(client: client), sessionTimeout: sessionTimeout,
                generator: SeededGenerator(seed: seed))
            let canary = Canary(client)
            let canaryTask = Task { await canary.run() }
            let report = Report(memoryAtStart: try await settledMemory(of: pool))
            try await inject(&nemesis)
            // Measured before the producers are stopped.
            let memory = await pool.memory()
            if messages == nil { await terminate(.producer, of: pool) }
            let undrained = try await drain(pool, queue)
            canaryTask.cancel()
            await canaryTask.value
            let failedWorkers = await pool.terminateAll()
            try await removeUnneededNodes(client)
            let history = await history(pool, folder)
            let finalState = try await Self.finalState(client)
            var violations =
                undrained + failedWorkers
                + Checker(history, finalState: finalState, group: Worker.group(of:)).violations(isOrdered: isOrdered)
            if !isOrdered { violations += Self.earlyDeliveries(history) }
            let attempted = Summary(history, violations: []).attempted
            if let messages, attempted < producers * messages {
                violations.append(Violation(.drainedInTime, "the producers attempted only \(attempted) sends"))
            }
            // The history of each message with a broken promise, which helps to find the reason.
            let affected = Set(
                violations.prefix(20).compactMap { $0.detail.split(separator: ":").first.map(String.init) })
            for event in history where affected.contains(event.message) { printLine("  \(event)") }
            for violation in violations.prefix(20) where violation.invariant == .orderKept {
                Self.printNeighbours(of: violation, in: history)
            }
            let losses = await canary.losses
            for loss in losses { printLine("  THE SERVERS HAVE LOST an acknowledged write: \(loss)") }
            let differences = try await ServerAgreement.differences(client, at: cluster)
            for difference in differences { printLine("  THE SERVERS DO NOT AGREE on \(difference)") }
            let verdict = Verdict(violations.isEmpty, serversFailed: !losses.isEmpty || !differences.isEmpty)
            await outcome.set(verdict)
            report.print(
                history, violations, verdict, nemesis, sessionTimeout: sessionTimeout, memoryAtEnd: memory)
        }
    }

    static var silent: Logger {
        var logger = Logger(label: "faults")
        logger.logLevel = .error
        return logger
    }

    private func pool(_ cluster: TestCluster, _ folder: String) async throws -> WorkerPool {
        let tasks = ["--concurrency", "\(concurrency)"]
        let connection =
            ["--transport", transport.rawValue]
            + (cluster.ensemble.certificates.map { ["--certificates", $0.folder] } ?? [])
        // Delayed messages come out of order.
        let delays = isOrdered ? [] : ["--delays"]
        let producer = (messages.map { ["--count", "\($0)"] } ?? []) + ["--rest", "\(rest)"] + delays + tasks
        let pool = WorkerPool(
            servers: cluster.address, folder: folder, sessionTimeout: sessionTimeout,
            options: [
                .producer: producer + connection, .consumer: tasks + connection, .recovery: connection,
            ],
            preload: MovingClock.library(in: folder))
        for (role, count) in [(Worker.Role.recovery, recoveries), (.consumer, consumers), (.producer, producers)] {
            for index in 0..<count { try await pool.start(role, index) }
        }
        return pool
    }

    /// Returns the memory of the workers when they have worked for some seconds.
    private func settledMemory(of pool: WorkerPool) async throws -> [String: Int] {
        // No event says that a process has allocated what it keeps.
        try await Task.sleep(for: .seconds(messages == nil ? 20 : 3))
        return await pool.memory()
    }

    private func terminate(_ role: Worker.Role, of pool: WorkerPool) async {
        for worker in await pool.workers where worker.role == role { kill(worker.pid, SIGTERM) }
    }

    /// Waits until the producers have sent every message and the queue is drained, as long as messages move.
    ///
    /// - Returns: a violation when the producers do not exit or the queue is not drained in time.
    private func drain(_ pool: WorkerPool, _ queue: MessageQueue) async throws -> [Violation] {
        let stopped = ContinuousClock.now
        while await !pool.haveExited(.producer) {
            if ContinuousClock.now - stopped > .seconds(300) {
                return [Violation(.drainedInTime, "a producer has not exited after five minutes")]
            }
            // Polls, because the pool does not report exits.
            try await Task.sleep(for: .milliseconds(100))
        }
        let foreign = ForeignNodes.expected.count { $0.hasPrefix("/queue/items/") }
        // The end of a session, a recovery's interval, the time after which it removes another recovery's lock, and the
        // time of the work.
        let limit = sessionTimeout + .seconds(2) + .seconds(10) + .seconds(10)
        let start = ContinuousClock.now
        var last = try await queue.statistics()
        var lastChange = start
        while last.ready > foreign || last.leased > 0 || last.recovering > 0 || last.delayed > 0 || last.groups > 0 {
            if ContinuousClock.now - lastChange > limit {
                return [Violation(.drainedInTime, "no message moved for \(limit.inSeconds): \(last)")]
            }
            // Polls, because no event announces a change of the statistics.
            try await Task.sleep(for: .milliseconds(100))
            let statistics = try await queue.statistics()
            if statistics != last { lastChange = ContinuousClock.now }
            last = statistics
        }
        printLine("  drained \((ContinuousClock.now - start).inSeconds) after the last send")
        return await pool.exitedUnexpectedly().map { Violation(.drainedInTime, "\($0.name) has exited unexpectedly") }
    }

    /// Lets a recovery remove the nodes of killed producers and consumers.
    private func removeUnneededNodes(_ client: ZooKeeperClient) async throws {
        var configuration = QueueRecovery.Configuration(producerStateRetention: .seconds(5))
        configuration.cleaningInterval = .zero
        let queue = try MessageQueue(client, logger: Self.silent)
        let recovery = QueueRecovery(queue, configuration: configuration)
        try await recovery.recover()
        // A recovery removes only nodes that it has itself seen unchanged for that time.
        try await Task.sleep(for: .seconds(12))
        for _ in 0..<2 { try await recovery.recover() }
    }

    private func history(_ pool: WorkerPool, _ folder: String) async -> [HistoryEvent] {
        await (["\(folder)/runner.history"] + pool.histories).flatMap { path in
            let data = FileManager.default.contents(atPath: path) ?? Data()
            return String(decoding: data, as: UTF8.self).split(separator: "\n").compactMap { HistoryEvent(line: $0) }
        }.sorted { $0.time < $1.time }
    }

    /// Prints what happened around messages that came out of order.
    private static func printNeighbours(of violation: Violation, in history: [HistoryEvent]) {
        let names = violation.detail.split(separator: " ").filter { $0.hasPrefix("item-") }.map(String.init)
        let indices = history.indices.filter { names.contains(history[$0].name) }
        guard let first = indices.first, let last = indices.last else { return }
        for event in history[max(0, first - 20)..<min(history.count, last + 20)].prefix(200) { printLine("  \(event)") }
    }

    /// Deliveries that came before the delay of the message had passed.
    private static func earlyDeliveries(_ history: [HistoryEvent]) -> [Violation] {
        var sendings: [String: Int64] = [:]
        return history.compactMap { event in
            if event.kind == .sending { sendings[event.message] = sendings[event.message] ?? event.time }
            guard event.kind == .delivered, let sent = sendings[event.message] else { return nil }
            let (waited, delay) = (Duration.milliseconds(event.time - sent), Worker.delay(of: event.message))
            // The history has whole milliseconds.
            guard waited + .milliseconds(1) < delay else { return nil }
            return Violation(.neverEarly, "\(event.message): was delivered after \(waited), but its delay is \(delay)")
        }
    }

    private static func finalState(_ client: ZooKeeperClient) async throws -> FinalState {
        // This session's server may be behind the servers that stored the last writes.
        try await client.sync()
        var finalState = FinalState()
        let expected = Set(ForeignNodes.expected)
        var missing = expected
        var paths = ["/queue"]
        while let path = paths.popLast() {
            // An ephemeral node may disappear during the pass.
            guard let node = try await client.get([path])[0] else { continue }
            let hasChildren = node.stat.ephemeralOwner == 0
            for name in hasChildren ? try await client.children(of: path).names : [] { paths.append("\(path)/\(name)") }
            let parts = path.split(separator: "/").dropFirst().map(String.init)
            // A rollover moves foreign nodes together with the messages.
            let original = parts.first == "earlier" ? "/queue/items/" + parts.dropFirst().joined(separator: "/") : path
            if parts.count < 2 || missing.remove(original) != nil { continue }
            let consumer = parts.count == 4 ? try await client.get(["/queue/consumers/\(parts[1])"])[0]?.data : nil
            let contents = NodeContents(name: parts.last ?? "", data: node.data ?? [], consumer: consumer)
            let messages = contents.messages.map {
                FinalState.Message(name: $0.name, payload: String(decoding: $0.payload, as: UTF8.self))
            }
            switch (parts[0], parts.count) {
            case ("items", 2), ("earlier", 2): finalState.ready += messages
            case ("partial", 2), ("consumers", 4), ("delayed", 4), ("groups", 3): finalState.held += messages
            case ("dead", 2): finalState.dead += messages
            // A slot is removed some time after its end.
            case ("delayed", 2...3): break
            // Ids stay until the deduplication window has passed, whether their messages are acknowledged or not.
            case ("dead", 3), ("idle", 2), ("ids", 2...3): break
            default: finalState.unneededNodes.append(path)
            }
        }
        finalState.unneededNodes += missing.map { "\($0), a foreign node, is gone" }
        return finalState
    }
}

/// Passes the verdict out of the scope of the servers.
private actor Outcome {
    private(set) var verdict = Verdict.broken
    func set(_ verdict: Verdict) { self.verdict = verdict }
}
