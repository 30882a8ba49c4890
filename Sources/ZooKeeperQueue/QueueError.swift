public import ZooKeeper

/// An error of a queue: what failed, and what to do about it.
public struct QueueError: Error, Sendable {
    /// The kind of an error.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        /// The name of the kind.
        public let description: String

        /// An argument is invalid. Nothing was sent. Correct the argument.
        public static let invalidArgument = Code(description: "invalidArgument")
        /// The payload does not fit into one request together with its headers. Nothing was sent. Store large payloads
        /// elsewhere and send a reference, or raise the client's `maximumRequestSize`.
        public static let payloadTooLarge = Code(description: "payloadTooLarge")
        /// The queue has reached its capacity and does not accept the message. See ``QueueCapacity``. Let consumers
        /// catch up, purge the queue, or raise its capacity.
        public static let queueFull = Code(description: "queueFull")
        /// Sending to the queue is paused. Nothing was sent. Send again when the pause has ended. See
        /// ``QueueAttributes/paused``.
        public static let paused = Code(description: "paused")
        /// The producer has reached its limit of waiting messages and accepts no more. Nothing was sent. Wait until
        /// earlier sends return, or raise the limit.
        public static let overloaded = Code(description: "overloaded")
        /// The queue exceeds a hard quota of the servers (`enforceQuota`), which is not a ``QueueCapacity``. Nothing
        /// was changed. Raise the quota, or purge the queue.
        public static let quotaExceeded = Code(description: "quotaExceeded")
        /// There is no queue at the path, and the settings do not allow creating one. Check the path, or create the
        /// queue with ``MessageQueue/createIfNeeded(_:)``.
        public static let queueNotFound = Code(description: "queueNotFound")
        /// The queue's tree has a format that this release does not know. The client leaves it alone. Use a newer
        /// release.
        public static let unsupportedFormat = Code(description: "unsupportedFormat")
        /// The access control lists do not permit the operation. Authenticate the client, or change the lists.
        public static let permissionDenied = Code(description: "permissionDenied")
        /// No server executed the request in time. It was not applied, and it is safe to try again. Earlier requests of
        /// the same call, such as those of a purge, may have been applied.
        public static let timedOut = Code(description: "timedOut")
        /// No response arrived. The operation may or may not have been applied. Wait for the outcome of a send with
        /// ``QueueProducer/resume(_:timeout:)``. Settle a message again in the same way.
        public static let outcomeUnknown = Code(description: "outcomeUnknown")
        /// The consumer has lost the lease, so the message has been or will be redelivered. Nothing was changed. Stop
        /// processing the message.
        public static let leaseLost = Code(description: "leaseLost")
        /// The message was already acknowledged, requeued or dead-lettered, or another call is settling it. Settle each
        /// message once.
        public static let alreadySettled = Code(description: "alreadySettled")
        /// A handler did not end within the time limit of
        /// ``QueueMessage/process(retry:timeout:cancelsWhenSuspended:_:)``. The message is requeued. Raise the limit,
        /// or let the handler stop when its task is cancelled.
        public static let handlerTimedOut = Code(description: "handlerTimedOut")
        /// The producer, consumer or client is closed. Create another one.
        public static let closed = Code(description: "closed")
        /// `run()` was called a second time. Create another recovery to run again.
        public static let alreadyRunning = Code(description: "alreadyRunning")
        /// There is no such dead letter, delayed message or lease, or the producer knows no such unresolved send. The
        /// dead letter may have been redriven or purged, the lease may have ended, and the result of the send may have
        /// been returned already.
        public static let notFound = Code(description: "notFound")
        /// ZooKeeper refused one of the operations that the caller passed to ``QueueMessage/acknowledge(with:)`` or
        /// added to a ``QueueTransaction``. Nothing was changed. ``QueueError/cause`` has the index of the operation
        /// and ZooKeeper's own error. Use other operations, or requeue the message.
        public static let operationRefused = Code(description: "operationRefused")
        /// ZooKeeper refused the operation for another reason. ``QueueError/cause`` says which one and what to do.
        public static let failed = Code(description: "failed")
    }

    /// The kind of the error.
    public let code: Code
    /// What failed and what to do, in English.
    public let message: String
    /// The error that ZooKeeper or its client reported.
    public let cause: ZooKeeperError?
    /// The send whose outcome is unknown. Wait for its outcome with ``QueueProducer/resume(_:timeout:)``.
    public let unresolvedSend: UnresolvedSend?

    package init(_ code: Code, _ message: String, cause: ZooKeeperError? = nil, unresolvedSend: UnresolvedSend? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
        self.unresolvedSend = unresolvedSend
    }
}

extension QueueError: CustomStringConvertible {
    /// What failed and what to do, without payloads or secrets.
    public var description: String {
        guard let cause, !message.hasSuffix("\(cause)") else { return message }
        return "\(message) (ZooKeeper: \(cause))"
    }
}

extension QueueError {
    /// Translates an error of the store. `operation` describes what failed.
    init(_ cause: ZooKeeperError, while operation: String, queue: String) {
        if cause.outcome == .unknown {
            self.init(
                .outcomeUnknown,
                "No response arrived while \(operation). The operation may or may not have been applied. Check the "
                    + "queue before you repeat it.", cause: cause)
            return
        }
        switch cause.code {
        case .noAuth:
            self.init(
                .permissionDenied,
                "ZooKeeper does not permit \(operation) at \(queue). Authenticate the client, or grant it permissions "
                    + "on the queue's nodes.", cause: cause)
        case .noNode:
            self.init(
                .queueNotFound,
                "A node of the queue \(queue) was missing while \(operation). Check whether the queue was deleted.",
                cause: cause)
        case .deadlineExceeded:
            self.init(
                .timedOut, "No server responded in time while \(operation). The request was not applied. Try again.",
                cause: cause)
        case .overloaded, .throttled, .notReadOnly, .sessionMoved:
            self.init(
                .timedOut, "A request was refused while \(operation). It was not applied. Try again later.",
                cause: cause)
        case .closed, .closing: self.init(.closed, "The ZooKeeper client is closed. Create another one.", cause: cause)
        case .quotaExceeded:
            self.init(
                .quotaExceeded,
                "ZooKeeper's hard quota for \(queue) was reached while \(operation). Raise the quota (setquota in "
                    + "zkCli.sh), or purge the queue. Consumers cannot claim messages until then.", cause: cause)
        case .requestTooLarge:
            self.init(
                .payloadTooLarge,
                "A request was too large while \(operation), and was not applied. Raise the client's "
                    + "maximumRequestSize.",
                cause: cause)
        case .invalidArgument: self.init(.invalidArgument, "\(cause)", cause: cause)
        default:
            self.init(.failed, "ZooKeeper refused an operation while \(operation) at \(queue). \(cause)", cause: cause)
        }
    }

    /// Returns the error for a queue that does not exist.
    static func missingQueue(at path: String) -> QueueError {
        QueueError(
            .queueNotFound, "There is no queue at \(path). Check the path, or create the queue with createIfNeeded().")
    }

    static let storeHasNoTransactions = QueueError(
        .invalidArgument,
        "This store has no transactions, so it cannot make several changes together. Use another store.")

    static let numbersAreExhausted = QueueError(
        .timedOut, "Not sent: the sequence numbers are exhausted. Run a QueueRecovery to reset them.")

    static func sendingIsPaused(_ queue: String) -> QueueError {
        QueueError(.paused, "Not sent: sending to the queue \(queue) is paused. Send again when the pause has ended.")
    }

    /// Creates the error for one of the caller's own operations that ZooKeeper refused, with its index among them.
    init(operation index: Int, refused cause: ZooKeeperError) {
        self.init(
            .operationRefused,
            "ZooKeeper refused the caller's operation at index \(index). Nothing was changed, and a message that was to "
                + "be acknowledged is still leased. Use other operations, or requeue the message.",
            cause: ZooKeeperError(
                code: cause.code, message: cause.message, path: cause.path, operationIndex: index,
                outcome: cause.outcome))
    }

    /// Runs `body` and translates the store's errors to queue errors.
    package static func translating<T>(
        while operation: String, queue: String, _ body: () async throws -> T
    ) async throws -> T {
        do {
            return try await body()
        } catch let error as ZooKeeperError {
            throw QueueError(error, while: operation, queue: queue)
        }
    }
}
