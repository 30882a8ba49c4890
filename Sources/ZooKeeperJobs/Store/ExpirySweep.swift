import Logging
import ZooKeeper
import ZooKeeperQueue

/// Removes expired locks and batches. Of all workers, one looks for them every ten minutes.
struct ExpirySweep: Sendable {
    private let jobs: JobQueue
    private static let interval = Duration.seconds(600)
    /// The time between two looks at when another worker has done it.
    private static let pause = Duration.seconds(60)

    init(_ jobs: JobQueue) { self.jobs = jobs }

    private var store: any ZooKeeperStore { jobs.queue.store }
    private var tree: JobTree { jobs.tree }

    /// Looks for expired nodes at intervals until the task is cancelled.
    func run() async {
        // Soon after the start, because some processes live for minutes only.
        while (try? await store.sleep(for: Self.pause)) != nil {
            do {
                if try await isDue() { try await removeExpired() }
            } catch {
                jobs.queue.logger.debug("Could not remove expired nodes of jobs", metadata: ["error": "\(error)"])
            }
        }
    }

    /// Whether no other worker has looked within the interval. The write of the node's next version makes this worker
    /// the one that looks.
    private func isDue() async throws -> Bool {
        guard let stat = try await store.exists(tree.sweep) else {
            // Without this folder, no job has needed any node.
            guard try await store.exists(tree.root) != nil else { return false }
            try await store.createIfMissing(tree.sweep)
            return false
        }
        let age = EnsembleTime(millisecondsSince1970: stat.mtime).duration(to: try await jobs.clock.now())
        guard age >= Self.interval else { return false }
        do {
            _ = try await store.set(tree.sweep, data: [], version: stat.version)
            return true
        } catch let error as ZooKeeperError where error.code == .badVersion {
            return false
        }
    }

    /// Removes what has expired by the ensemble's clock. What cannot be read or removed stays for the next time, and
    /// delays nothing else.
    func removeExpired() async throws {
        let now = try await jobs.clock.now()
        for folder in try await names(below: tree.unique) {
            await tolerating("\(tree.unique)/\(folder)") { try await removeLocks(in: $0, now: now) }
        }
        for name in try await names(below: tree.batches) {
            await tolerating(tree.batch(name)) { try await removeBatch($0, name, now: now) }
        }
    }

    private func tolerating(_ path: String, _ body: (String) async throws -> Void) async {
        do {
            try await body(path)
        } catch {
            jobs.queue.logger.warning(
                "Could not remove expired nodes of jobs", metadata: ["path": "\(path)", "error": "\(error)"])
        }
    }

    private func removeLocks(in folder: String, now: EnsembleTime) async throws {
        var paths = try await names(below: folder).map { "\(folder)/\($0)" }[...]
        while !paths.isEmpty {
            let some = Array(paths.prefix(200))
            paths = paths.dropFirst(200)
            for (path, node) in zip(some, try await store.get(some)) {
                // What this release cannot read may belong to a newer one.
                guard let node, let held = UniqueLock(node.data), held.expiresAt <= now else { continue }
                await store.deleteIfPossible(path, version: node.stat.version)
            }
        }
    }

    private func removeBatch(_ path: String, _ name: String, now: EnsembleTime) async throws {
        guard let record = BatchRecord(try await store.getIfPresent(path)?.data), record.expiresAt <= now else {
            return
        }
        // Without this node, its jobs no longer count, whichever of them is acknowledged at the same time.
        await store.deleteIfPossible(tree.openShards(ofBatch: name))
        for child in try await names(below: path) { await store.deleteIfPossible("\(path)/\(child)") }
        await store.deleteIfPossible(path)
    }

    private func names(below path: String) async throws -> [String] {
        do {
            return try await store.children(of: path).names
        } catch let error as ZooKeeperError where error.code == .noNode {
            return []
        }
    }
}
