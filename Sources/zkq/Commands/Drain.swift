import ArgumentParser
import ZooKeeperQueue

struct Drain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Pause sending, and wait until the queue is empty.",
        discussion: """
            Waits until no message is ready, leased, recovering or delayed. Consumers and a recovery must be running. \
            Sending stays paused, however the command ends, until "zkq resume".
            """)

    @OptionGroup var options: QueueOptions

    @Flag(help: "Do not wait for delayed messages that are not due yet.")
    var exceptDelayed = false

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Fail when the queue is not empty after this time. Default: never.", valueName: "seconds"))
    var timeout: Double?

    func validate() throws { try check("--timeout", timeout, from: 0, to: 1_000_000_000, unit: "seconds") }

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue(createIfMissing: false) { queue in
                try await queue.update { $0.paused.insert(.send) }
                let delayed = try await waitUntilEmpty(queue).delayed
                let rest = delayed > 0 ? ", except for delayed messages (\(delayed))" : ""
                try StandardOutput.line(
                    "The queue is empty\(rest). Sending stays paused; run \"zkq resume\" to continue.")
            }
        }
    }

    /// Returns the statistics of the empty queue.
    ///
    /// - Throws: ``ToolError`` when the time is over, and when the queue cannot become or stay empty.
    private func waitUntilEmpty(_ queue: MessageQueue) async throws -> QueueStatistics {
        let clock = ContinuousClock()
        let deadline = timeout.map { clock.now + .seconds($0) }
        let progress = Progress("drain")
        defer { progress.end() }
        var most = 0
        var enqueuedWhenEmpty: Int?
        while true {
            let statistics = try await queue.statistics()
            try checkPauses(statistics)
            let left = remaining(statistics)
            most = max(most, left)
            progress.update(most - left, of: most)
            if left == 0, enqueuedWhenEmpty == statistics.totalEnqueued { return statistics }
            // One look at the empty queue is repeated, even when the time is over.
            let isConfirming = left == 0 && enqueuedWhenEmpty == nil
            if !isConfirming, let deadline, deadline <= clock.now { throw unfinished(statistics) }
            if left > 0 {
                enqueuedWhenEmpty = nil
            } else {
                // The counts are not a snapshot: a message that was requeued between two reads may be in none of them.
                // It is in the next counts, or the total has grown.
                enqueuedWhenEmpty = statistics.totalEnqueued
            }
            // A poll, because the counts of many folders have no common event, and a watch on each folder would wake
            // the command for every message.
            let next = clock.now + .seconds(1)
            try await clock.sleep(until: isConfirming ? next : min(next, deadline ?? next))
        }
    }

    private func remaining(_ statistics: QueueStatistics) -> Int {
        statistics.ready + statistics.leased + statistics.recovering + (exceptDelayed ? 0 : statistics.delayed)
    }

    private func checkPauses(_ statistics: QueueStatistics) throws {
        guard statistics.paused.contains(.send) else {
            throw ToolError(
                "Another client has resumed sending, so the queue does not stay empty. Run \"zkq drain\" again.")
        }
        if statistics.ready > 0, statistics.paused.contains(.consume) {
            throw ToolError(
                "Consuming is paused, so the queue does not become empty: \(statistics.ready) ready. Sending stays "
                    + "paused. Run \"zkq resume --consume\", and then \"zkq drain\" again.")
        }
    }

    private func unfinished(_ statistics: QueueStatistics) -> ToolError {
        ToolError(
            "The queue did not become empty in time: \(statistics.ready) ready, \(statistics.leased) leased, "
                + "\(statistics.recovering) recovering, \(statistics.delayed) delayed. Sending stays paused. Check "
                + "that consumers and a recovery run, and run \"zkq drain\" again, or \"zkq resume\".")
    }
}
