import Logging
import ZooKeeper

/// Keeps moving delayed messages to the ready messages when they are due.
///
/// Of several recoveries, the one that holds the lock moves the messages. It sleeps until the next due time, and
/// watches the folders in which an earlier one can appear. A queue without delayed messages costs one watch.
struct DelayedMover {
    private let queue: MessageQueue
    private let mover: MessageMover
    private let lock: RecoveryLock
    private var clock = EnsembleClock()
    /// When the clock was last read, by the store's clock.
    private var readAt: Duration?

    /// The longest pause between two cycles.
    private static let longestPause = Duration.seconds(2)
    /// The shortest pause, so that many sends do not cause as many lists.
    private static let shortestPause = Duration.milliseconds(10)
    /// How old the reading of the clock may be when messages move. The leader's clock may have been set since.
    private static let maximumAge = Duration.seconds(1)
    /// How long to wait after an error that retrying cannot fix.
    private static let pauseAfterError = Duration.seconds(5)

    init(_ queue: MessageQueue, _ mover: MessageMover) {
        self.queue = queue
        self.mover = mover
        lock = RecoveryLock(queue, at: queue.tree.delayedLock)
    }

    private var store: any ZooKeeperStore { queue.store }

    /// Runs until the task is cancelled or the client is closed.
    mutating func run() async {
        while !Task.isCancelled {
            do {
                try await untilUsed()
                try await lock.hold { try await moveUntilUnused($0) }
            } catch let error as ZooKeeperError where error.code == .closed {
                return
            } catch let error as ZooKeeperError where error.isRetryable {
                await error.pauseIfRefusedAtOnce(store)
            } catch {
                if Task.isCancelled { return }
                queue.logger.error(
                    "Could not move delayed messages", metadata: ["queue": "\(queue.path)", "error": "\(error)"])
                try? await store.sleep(for: Self.pauseAfterError)
            }
            (clock, readAt) = (EnsembleClock(), nil)
        }
    }

    private func untilUsed() async throws {
        for try await children in store.childrenUpdates(of: queue.tree.delayed) where children?.names.isEmpty == false {
            return
        }
        // The sequence ends with its client or its task. This read throws the corresponding error.
        _ = try await store.exists(queue.tree.delayed)
        try Task.checkCancellation()
    }

    /// Runs one cycle after the other, until there are no delayed messages or another recovery has the lock.
    private mutating func moveUntilUnused(_ turn: RecoveryLock.Turn) async throws {
        while let now = try await readClock(turn) {
            var due = DueMessages(queue: queue, mover: mover, now: now)
            try await due.run()
            if due.isUnused { return }
            if due.report.madeReady > 0 {
                queue.logger.debug("Delayed messages became ready", metadata: ["count": "\(due.report.madeReady)"])
            }
            try await store.sleep(for: Self.shortestPause)
            try await wait(for: due)
        }
    }

    /// Returns the earliest time that the ensemble's clock can show; `nil` when another recovery has the lock.
    private mutating func readClock(_ turn: RecoveryLock.Turn) async throws -> EnsembleTime? {
        let start = store.now
        if readAt.map({ start - $0 > Self.maximumAge }) ?? true {
            let reading =
                turn.hasLock ? try await lock.sendHeartbeat() : try await store.probe(below: queue.tree.root).mtime
            guard let stamp = reading else { return nil }
            clock.observe(stamp, sentAt: start, receivedAt: store.now)
            readAt = store.now
        }
        return clock.earliest(at: store.now)
    }

    /// Waits until a message is due, or until a listed folder has changed.
    private func wait(for due: DueMessages) async throws {
        let (store, now) = (store, store.now)
        let pause = due.nextTime.flatMap { clock.wait(until: $0, at: now) } ?? Self.longestPause
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await store.sleep(for: min(pause, Self.longestPause)) }
            for (path, pzxid) in due.listed {
                group.addTask {
                    for try await children in store.childrenUpdates(of: path) where children?.stat.pzxid != pzxid {
                        return
                    }
                    // The sequence ends with its client or its task.
                    _ = try await store.exists(path)
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }
}
