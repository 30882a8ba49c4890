import ZooKeeper
import ZooKeeperQueue

extension JobQueue {
    /// How often a call tries again after another process has changed the same nodes.
    static let maximumAttempts = 50

    /// Stores a job together with its lock, unless an equal job holds the lock.
    func pushOnce(
        _ message: OutgoingMessage, _ job: StoredJob, lock: UniqueLock.Name, for policy: UniquePolicy
    ) async throws -> JobReceipt {
        let (store, path) = (queue.store, tree.lock(lock))
        var isCurrent = false
        for _ in 1...Self.maximumAttempts {
            let existing = try await translating("reading a unique job's lock") {
                if isCurrent { try await store.sync(path) }
                return try await store.getIfPresent(path)
            }
            let now = try await clock.now()
            if let held = UniqueLock(existing?.data), held.expiresAt > now {
                // A server that lags behind can show a lock that was released, and the job must run after that.
                guard isCurrent else {
                    isCurrent = true
                    continue
                }
                return JobReceipt(id: held.job, nodeName: nil, isDuplicate: true)
            }
            let begin = message.deliverAt.map { max($0, now) } ?? now.advanced(by: message.delay)
            // A job that has expired does not run, so its lock ends too.
            let limit = policy.event == nil ? policy.limit : min(policy.limit, message.expiresAfter ?? policy.limit)
            let data = UniqueLock(job: job.id, expiresAt: begin.advanced(by: limit)).data
            do {
                let receipts = try await queue.transaction { transaction in
                    if let existing {
                        transaction.add(.set(path, data: data, version: existing.stat.version))
                    } else {
                        transaction.add(.create(path, data: data))
                    }
                    transaction.send(message, to: queue)
                }
                let isDuplicate = receipts.first?.isDuplicate ?? false
                return JobReceipt(id: job.id, nodeName: receipts.first?.nodeName, isDuplicate: isDuplicate)
            } catch let error as QueueError where error.code == .operationRefused {
                try await prepare(tree.lockFolder(lock), after: error)
            } catch let error as QueueError where error.code == .outcomeUnknown {
                // No other job has this ID, so the lock tells whether the transaction was applied.
                guard try await holdsLock(job, lock) else { throw error }
                return JobReceipt(id: job.id, nodeName: nil, isDuplicate: false)
            }
        }
        throw Self.contended
    }

    private func holdsLock(_ job: StoredJob, _ lock: UniqueLock.Name) async throws -> Bool {
        try await translating("reading a unique job's lock") {
            try await queue.store.sync(tree.lock(lock))
            return UniqueLock(try await queue.store.getIfPresent(tree.lock(lock))?.data)?.job == job.id
        }
    }

    /// Returns the operation that removes a job's lock; `nil` when the job holds none.
    func release(_ lock: UniqueLock.Name, of job: StoredJob) async throws -> ZooKeeperOperation? {
        try await translating("reading a unique job's lock") {
            let path = tree.lock(lock)
            guard let node = try await queue.store.getIfPresent(path), UniqueLock(node.data)?.job == job.id else {
                return nil
            }
            return .delete(path, version: node.stat.version)
        }
    }

    /// Removes a job's lock on its own. Does nothing when the job holds none.
    ///
    /// - Throws: `QueueError`; ``JobError/Code/contended``.
    func remove(_ lock: UniqueLock.Name, of job: StoredJob) async throws {
        for _ in 1...Self.maximumAttempts {
            guard case .delete(let path, let version)? = try await release(lock, of: job) else { return }
            do {
                return try await translating("removing a unique job's lock") {
                    try await queue.store.delete(path, version: version)
                }
            } catch let error as QueueError where [.badVersion, .noNode].contains(error.cause?.code) {
                continue
            } catch let error as QueueError where error.code == .outcomeUnknown {
                continue
            }
        }
        throw Self.contended
    }

    // MARK: Refusals

    /// Handles the refusal of an operation on one of the jobs' nodes: creates the folder if it is missing. Otherwise
    /// another process has changed the node.
    func prepare(_ folder: String, after error: QueueError) async throws {
        if error.cause?.code == .noNode {
            try await translating("creating the folders of the jobs") {
                try await queue.store.createJobFolder(folder, below: queue.path)
            }
        } else if let code = error.cause?.code, code != .nodeExists, code != .badVersion {
            throw error
        }
    }

    static let contended = JobError(
        .contended,
        "Nothing was changed, because other processes changed the same nodes \(maximumAttempts) times. Try again.")

    func translating<T>(_ operation: String, _ body: () async throws -> T) async throws -> T {
        try await QueueError.translating(while: operation, queue: queue.path, body)
    }
}
