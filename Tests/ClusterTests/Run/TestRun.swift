import Foundation
import Logging
import QueueHistory
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperServer

/// A run: servers, workers, what goes wrong, and the judgement.
struct TestRun: Sendable {
    let title: String
    var servers = 5
    var heap = 192
    var sessionTimeout = Duration.seconds(4)
    /// How many of each.
    var producers = 1
    var consumers = 1
    var recoveries = 1
    /// For each producer; `nil` is as many as it can until the time is over.
    var messages: Int?
    /// Milliseconds that a producer rests after each message.
    var rest = 0
    /// How many tasks of each producer and consumer work at once.
    var concurrency = 1
    /// How many messages a node may hold.
    var maximumBatchSize = 1
    /// Whether servers join and leave.
    var hasChangingMembers = false
    /// Whether the order of one producer and one consumer is judged too.
    var isOrdered = false
    var seed: UInt64

    /// Runs it.
    ///
    /// - Parameter disturb: makes things go wrong until it has done its part.
    /// - Returns: whether every promise was kept, and if not, who has failed.
    func run(_ disturb: @escaping @Sendable (inout Nemesis) async throws -> Void) async throws -> Verdict {
        say(
            "\n\(title): \(servers) servers, \(producers) producers, \(consumers) consumers, \(recoveries) recoveries, \(maximumBatchSize) messages a node; seed \(seed)"
        )
        let folder = FileManager.default.temporaryDirectory.appending(path: "faults-\(UUID().uuidString)").path()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let outcome = Outcome()
        let make = hasChangingMembers ? TestCluster.withChangingMembers : TestCluster.with
        try await make(servers, heap) { site in
            try await run(at: site, folder: folder, outcome, disturb)
        }
        return await outcome.verdict
    }

    private func run(
        at site: TestCluster, folder: String, _ outcome: Outcome,
        _ disturb: @Sendable (inout Nemesis) async throws -> Void
    ) async throws {
        // The runner's own client goes straight to the servers.
        try await ZooKeeperClient.withClient(
            configuration: try ZooKeeperConfiguration(servers: site.ensemble.connectString), logger: Self.silent
        ) { client in
            let queue = try MessageQueue(client, logger: Self.silent)
                .creating(with: Worker.attributes)
            try await queue.update { $0.maximumBatchSize = maximumBatchSize }
            let own = try HistoryFile(path: folder + "/runner.history", member: "runner")
            for data in ForeignNodes.messages { own.write(.sending, String(decoding: data, as: UTF8.self)) }
            try await ForeignNodes.create(client)
            for data in ForeignNodes.messages { own.write(.sent, String(decoding: data, as: UTF8.self)) }

            let pool = try await pool(site, folder)
            var disturber = Nemesis(
                site: site, pool: pool, durability: Durability(client: client), sessionTimeout: sessionTimeout,
                generator: SeededGenerator(seed: seed))
            let canary = Canary(client)
            let singing = Task { await canary.sing() }
            let report = Report(memoryAtStart: try await settledMemory(of: pool))
            try await disturb(&disturber)
            // Before the producers are told to end.
            let memory = await pool.memory()
            if messages == nil { await dismiss(.producer, of: pool) }
            let late = try await finish(pool, queue)
            singing.cancel()
            await singing.value
            let failed = await pool.dismiss()
            try await collectGarbage(client)
            let history = await history(pool, folder)
            let finalState = try await Self.finalState(client)
            var violations = late + failed + Checker(history, finalState: finalState).violations(isOrdered: isOrdered)
            let begun = Figures(history, violations: []).attempted
            if let messages, begun < producers * messages {
                violations.append(Violation(.drainedInTime, "producers began only \(begun) sends"))
            }
            // What befell the messages that a promise was broken for, for who looks for the reason.
            let concerned = Set(
                violations.prefix(20).compactMap { $0.what.split(separator: ":").first.map(String.init) })
            for event in history where concerned.contains(event.message) { say("  \(event)") }
            let losses = await canary.losses
            for loss in losses { say("  THE SERVERS HAVE LOST what they acknowledged: \(loss)") }
            let differences = try await ServerAgreement.differences(client, at: site)
            for difference in differences { say("  THE SERVERS DO NOT AGREE on \(difference)") }
            let verdict = Verdict(violations.isEmpty, serversFailed: !losses.isEmpty || !differences.isEmpty)
            await outcome.set(verdict)
            report.tell(
                history, violations, verdict, disturber, sessionTimeout: sessionTimeout, memoryAtEnd: memory)
        }
    }

    static var silent: Logger {
        var logger = Logger(label: "faults")
        logger.logLevel = .error
        return logger
    }

    private func pool(_ site: TestCluster, _ folder: String) async throws -> WorkerPool {
        let tasks = ["--concurrency", "\(concurrency)"]
        let producer = (messages.map { ["--count", "\($0)"] } ?? []) + ["--rest", "\(rest)"] + tasks
        let pool = WorkerPool(
            servers: site.address, folder: folder, sessionTimeout: sessionTimeout,
            options: [.producer: producer, .consumer: tasks],
            preload: MovingClock.library(in: folder))
        for (role, count) in [(Worker.Role.recovery, recoveries), (.consumer, consumers), (.producer, producers)] {
            for place in 0..<count { try await pool.start(role, place) }
        }
        return pool
    }

    /// Their memory when they have been at work for some seconds.
    private func settledMemory(of pool: WorkerPool) async throws -> [String: Int] {
        try await Task.sleep(for: .seconds(messages == nil ? 20 : 3))
        return await pool.memory()
    }

    private func dismiss(_ role: Worker.Role, of pool: WorkerPool) async {
        for member in await pool.members where member.role == role { kill(member.pid, SIGTERM) }
    }

    /// Waits until everything was sent and taken, as long as messages move.
    ///
    /// - Returns: what did not come to its end.
    private func finish(_ pool: WorkerPool, _ queue: MessageQueue) async throws -> [Violation] {
        let told = ContinuousClock.now
        while await !pool.haveEnded(.producer) {
            if ContinuousClock.now - told > .seconds(300) {
                return [Violation(.drainedInTime, "a producer has not ended after five minutes")]
            }
            // Other processes' ends can only be looked for.
            try await Task.sleep(for: .milliseconds(100))
        }
        let foreign = ForeignNodes.expected.count { $0.hasPrefix("/queue/items/") }
        // A session that ends, a recovery's rest and its patience, and the work.
        let patience = sessionTimeout + .seconds(2) + .seconds(10) + .seconds(10)
        let start = ContinuousClock.now
        var last = try await queue.statistics()
        var lastChange = start
        while last.ready > foreign || last.leased > 0 || last.recovering > 0 {
            if ContinuousClock.now - lastChange > patience {
                return [Violation(.drainedInTime, "nothing moved for \(patience.inSeconds): \(last)")]
            }
            // How a queue stands far away can only be asked for.
            try await Task.sleep(for: .milliseconds(100))
            let statistics = try await queue.statistics()
            if statistics != last { lastChange = ContinuousClock.now }
            last = statistics
        }
        say("  drained \((ContinuousClock.now - start).inSeconds) after the last send")
        return await pool.fallen().map { Violation(.drainedInTime, "\($0.name) has ended by itself") }
    }

    /// What killed producers and consumers have left takes its time to count as garbage.
    private func collectGarbage(_ client: ZooKeeperClient) async throws {
        var configuration = QueueRecovery.Configuration(producerStateRetention: .seconds(5))
        configuration.cleaningInterval = .zero
        let queue = try MessageQueue(client, logger: Self.silent)
        let recovery = QueueRecovery(queue, configuration: configuration)
        try await recovery.recover()
        // A recovery removes only what it has itself seen unchanged for that long, and no event tells that time has passed.
        try await Task.sleep(for: .seconds(12))
        for _ in 0..<2 { try await recovery.recover() }
    }

    private func history(_ pool: WorkerPool, _ folder: String) async -> [HistoryEvent] {
        await (["\(folder)/runner.history"] + pool.histories).flatMap { path in
            let data = FileManager.default.contents(atPath: path) ?? Data()
            return String(decoding: data, as: UTF8.self).split(separator: "\n").compactMap { HistoryEvent(line: $0) }
        }.sorted { $0.time < $1.time }
    }

    private static func finalState(_ client: ZooKeeperClient) async throws -> FinalState {
        // The server of this session may be behind the one of those that wrote last.
        try await client.sync()
        var finalState = FinalState()
        let expected = Set(ForeignNodes.expected)
        var missing = expected
        var paths = ["/queue"]
        while let path = paths.popLast() {
            // An ephemeral node may go while this looks.
            guard let node = try await client.get([path])[0] else { continue }
            let hasChildren = node.stat.ephemeralOwner == 0
            for name in hasChildren ? try await client.children(of: path).names : [] { paths.append("\(path)/\(name)") }
            let parts = path.split(separator: "/").dropFirst().map(String.init)
            // What is not ours moves with the messages when the server's numbers begin anew.
            let home = parts.first == "earlier" ? "/queue/items/" + parts.dropFirst().joined(separator: "/") : path
            if parts.count < 2 || missing.remove(home) != nil { continue }
            let consumer = parts.count == 4 ? try await client.get(["/queue/consumers/\(parts[1])"])[0]?.data : nil
            let contents = NodeContents(name: parts.last ?? "", data: node.data ?? [], consumer: consumer)
            let messages = contents.messages.map {
                FinalState.Message(name: $0.name, payload: String(decoding: $0.payload, as: UTF8.self))
            }
            switch (parts[0], parts.count) {
            case ("items", 2), ("earlier", 2): finalState.ready += messages
            case ("partial", 2), ("consumers", 4): finalState.held += messages
            case ("dead", 2): finalState.dead += messages
            // Ids are kept for a time, whatever became of their messages.
            case ("dead", 3), ("idle", 2), ("ids", 2...3): break
            default: finalState.garbage.append(path)
            }
        }
        finalState.garbage += missing.map { "\($0) is gone, though it is not ours" }
        return finalState
    }
}

/// What a run says of itself from inside its servers' scope.
private actor Outcome {
    private(set) var verdict = Verdict.broken
    func set(_ verdict: Verdict) { self.verdict = verdict }
}
