import ZooKeeper
import CoreMetrics
public import ZooKeeperQueue

/// A queue of typed jobs.
///
/// ```swift
/// let jobs = JobQueue(queue)
/// try await jobs.push(ChargeCard(order: "o-42", cents: 999), .init(delay: .seconds(300)))
///
/// let worker = JobWorker(jobs, concurrency: 8)
///     .handle(ChargeCard.self) { job, context in try await charge(job.order, job.cents) }
/// ```
///
/// A job is an ordinary message of the queue: its payload is the encoded job, and its headers have the job's name,
/// version and ID. So everything that holds for messages holds for jobs.
public struct JobQueue: Sendable {
    /// The queue that stores the jobs.
    public let queue: MessageQueue
    let coder: any JobCoder
    let middleware: [any JobMiddleware]
    let producer: QueueProducer
    let clock: JobClock
    let metrics: JobMetrics
    var tree: JobTree { JobTree(queue) }

    /// Creates a queue of jobs. Makes no request.
    ///
    /// - Parameters:
    ///   - queue: stores the jobs. It may also contain messages that are no jobs, as long as other consumers take them:
    ///     a ``JobWorker`` requeues them.
    ///   - coder: encodes and decodes the jobs. Default: ``JSONJobCoder``.
    ///   - middleware: may change each job before it is stored, in this order. Default: none.
    ///   - producer: the configuration of the producer that stores the jobs.
    public init(
        _ queue: MessageQueue, coder: any JobCoder = JSONJobCoder(), middleware: [any JobMiddleware] = [],
        producer: QueueProducer.Configuration = .init()
    ) {
        self.queue = queue
        self.coder = coder
        self.middleware = middleware
        self.producer = QueueProducer(queue, configuration: producer)
        clock = JobClock(queue)
        metrics = JobMetrics(queue)
    }

    // MARK: Pushing

    /// Stores a job.
    ///
    /// A unique job takes some more requests than others, because it is stored in a transaction of its own.
    ///
    /// - Parameters:
    ///   - job: the job.
    ///   - options: how it is stored. Default: the options of its type.
    /// - Returns: the job's ID, or the ID of the equal job that prevents it from being stored.
    /// - Throws: ``JobError`` before anything is sent, and ``JobError/Code/contended``; the errors of
    ///   `QueueProducer.send`. A cancelled push that was not sent yet is not stored.
    @discardableResult
    public func push<J: Job>(_ job: J, _ options: JobOptions = J.options) async throws -> JobReceipt {
        let encoded = try await encode(job, options)
        if let policy = options.unique, let lock = encoded.job.lock {
            let receipt = try await pushOnce(encoded.message, encoded.job, lock: lock, for: policy)
            if !receipt.isDuplicate { metrics.type(J.name).pushed.increment() }
            return receipt
        }
        let receipt = encoded.receipt(try await producer.send(encoded.message))
        if !receipt.isDuplicate { metrics.type(J.name).pushed.increment() }
        return receipt
    }

    /// Stores jobs, in their order. Fewer, larger requests make this faster than single pushes.
    ///
    /// - Parameters:
    ///   - jobs: the jobs.
    ///   - options: how each of them is stored. They can have neither an ``JobOptions/id`` nor ``JobOptions/unique``.
    ///     Default: the options of their type.
    /// - Returns: the jobs' receipts, in their order.
    /// - Throws: the errors of ``push(_:_:)``. After an error, each of the jobs may or may not be stored.
    @discardableResult
    public func push<J: Job>(
        contentsOf jobs: some Sequence<J> & Sendable, _ options: JobOptions = J.options
    ) async throws -> [JobReceipt] {
        guard options.id == nil, options.unique == nil else {
            throw JobError(.invalidJob, "Several jobs cannot share an ID or a lock. Push them one by one.")
        }
        var encoded: [EncodedJob] = []
        for job in jobs { encoded.append(try await encode(job, options)) }
        let receipts = try await producer.send(contentsOf: encoded.map(\.message))
        metrics.type(J.name).pushed.increment(by: receipts.count)
        return zip(encoded, receipts).map { $0.receipt($1) }
    }

    /// Returns the message of a job, for a `QueueTransaction` or for another kind of client. It sends nothing.
    ///
    /// ```swift
    /// let message = try await jobs.message(for: PackOrder(order: "o-42"))
    /// try await queue.transaction { $0.send(message, to: jobs.queue) }
    /// ```
    ///
    /// - Throws: ``JobError`` when the job cannot be encoded, or is unique, which needs a push.
    public func message<J: Job>(for job: J, _ options: JobOptions = J.options) async throws -> OutgoingMessage {
        guard options.unique == nil else {
            throw JobError(.invalidJob, "A unique job has a lock beside its message. Push it.")
        }
        let message = try await encode(job, options).message
        try queue.validate(message)
        return message
    }

    /// Stores the jobs that wait to be sent, and removes the producer's node. See `QueueProducer.close()`.
    public func close() async { await producer.close() }

    // MARK: Encoding

    /// Encodes a job, checks its options, and lets the middleware change its headers.
    func encode<J: Job>(
        _ job: J, _ options: JobOptions, in membership: StoredJob.Membership? = nil
    ) async throws -> EncodedJob {
        try validate(name: J.name, version: J.version, options)
        let payload: [UInt8]
        do {
            payload = try coder.encode(job)
        } catch {
            // The error's text could contain the payload.
            throw JobError(.encodingFailed, "The job \(J.name) could not be encoded: \(type(of: error)).")
        }
        var stored = StoredJob(
            id: options.id ?? RandomName.make(), name: J.name, version: J.version, contentType: coder.contentType)
        stored.membership = membership
        if let policy = options.unique {
            guard let key = policy.key ?? String(validating: payload, as: UTF8.self) else {
                throw JobError(
                    .invalidJob, "The encoded job is not text, so it cannot be the key of a unique job. Pass a key.")
            }
            stored.lock = try UniqueLock.Name(job: J.name, key: key, event: policy.event)
        }
        var outgoing = OutgoingJob(name: J.name, id: stored.id, headers: options.headers)
        for middleware in middleware { try await middleware.willPush(&outgoing) }
        if let header = outgoing.headers.keys.first(where: StoredJob.isReserved) {
            throw JobError(.invalidJob, "The header \(header) is reserved. Use another name.")
        }
        let headers = outgoing.headers.merging(stored.headers) { $1 }
        let message = OutgoingMessage(
            payload, priority: options.priority, headers: headers, id: options.id, delay: options.delay,
            deliverAt: options.deliverAt, expiresAfter: options.expiresAfter, group: options.group)
        return EncodedJob(job: stored, message: message)
    }

    private func validate(name: String, version: Int, _ options: JobOptions) throws {
        guard JobName.isValid(name), version >= 1 else {
            throw JobError(
                .invalidJob,
                "A job's name must be 1 to 128 bytes of printable ASCII without spaces, and its version 1 or more.")
        }
        guard options.id == nil || options.unique == nil else {
            throw JobError(
                .invalidJob, "A unique job cannot have an ID of the caller's choice. Use the ID as the lock's key.")
        }
        if let limit = options.unique?.limit, limit <= .zero || limit > JobName.longestTime {
            throw JobError(.invalidJob, "The time of a unique job must be more than zero, and at most ten years.")
        }
    }
}

enum JobName {
    static let longestTime = Duration.seconds(10 * 366 * 86_400)

    static func isValid(_ name: String) -> Bool {
        1...128 ~= name.utf8.count && name.utf8.allSatisfy { 0x21...0x7E ~= $0 }
    }
}

/// A job and its message.
struct EncodedJob: Sendable {
    let job: StoredJob
    let message: OutgoingMessage

    func receipt(_ receipt: SendReceipt) -> JobReceipt {
        JobReceipt(id: job.id, nodeName: receipt.nodeName, isDuplicate: receipt.isDuplicate)
    }
}
