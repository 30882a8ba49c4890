public import ZooKeeper

/// What went wrong with a queue, and what to do.
public struct QueueError: Error, Sendable {
    /// The kind of an error.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        /// The kind's name.
        public let description: String

        /// An argument is not valid; nothing was sent.
        public static let invalidArgument = Code(description: "invalidArgument")
        /// The payload, with its headers, does not fit into one request; nothing was sent.
        public static let payloadTooLarge = Code(description: "payloadTooLarge")
        /// The queue has reached its bound, and does not take the message. See ``QueueBound``.
        public static let queueFull = Code(description: "queueFull")
        /// The producer's limit of waiting messages is reached, so it accepts no more. Nothing was sent.
        public static let overloaded = Code(description: "overloaded")
        /// A hard quota of the servers is reached (`enforceQuota`), which is not a ``QueueBound``. Nothing was changed.
        public static let quotaExceeded = Code(description: "quotaExceeded")
        /// The queue is not there, and the settings do not allow to create it.
        public static let queueMissing = Code(description: "queueMissing")
        /// The queue's tree has a format that this release does not know, so that it does nothing there.
        public static let unsupportedFormat = Code(description: "unsupportedFormat")
        /// The access control lists do not allow it.
        public static let notPermitted = Code(description: "notPermitted")
        /// No server answered in time; nothing was changed.
        public static let unreachable = Code(description: "unreachable")
        /// No answer came, and the operation may or may not have been applied.
        public static let outcomeUnknown = Code(description: "outcomeUnknown")
        /// The lease is lost: somebody else has the message, or will have it. Nothing was changed.
        public static let leaseLost = Code(description: "leaseLost")
        /// The message was acknowledged, given back or dead-lettered before.
        public static let alreadySettled = Code(description: "alreadySettled")
        /// The producer, consumer or client is closed.
        public static let closed = Code(description: "closed")
        /// `run()` was called a second time.
        public static let alreadyRunning = Code(description: "alreadyRunning")
        /// There is no such dead letter, or no send of this number to repeat.
        public static let notFound = Code(description: "notFound")
        /// ZooKeeper refused one of the operations that the caller gave to ``QueueMessage/acknowledge(with:)``. Nothing
        /// was changed. ``QueueError/cause`` has the index of the operation and ZooKeeper's own error.
        public static let operationRefused = Code(description: "operationRefused")
        /// ZooKeeper refused it for another reason: see ``QueueError/cause``.
        public static let failed = Code(description: "failed")
    }

    /// The kind.
    public let code: Code
    /// What was wrong and what to do, for a person.
    public let message: String
    /// What ZooKeeper said.
    public let cause: ZooKeeperError?
    /// The send whose outcome is unknown. Repeat it with ``QueueProducer/repeatSend(_:timeout:)``.
    public let unresolvedSend: SendID?

    init(_ code: Code, _ message: String, cause: ZooKeeperError? = nil, unresolvedSend: SendID? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
        self.unresolvedSend = unresolvedSend
    }
}

extension QueueError: CustomStringConvertible {
    /// What was wrong and what to do, without payloads or secrets.
    public var description: String {
        guard let cause else { return message }
        return "\(message) (ZooKeeper: \(cause))"
    }
}

extension QueueError {
    /// The queue's word for an error of the store, told to a person who did `what`.
    init(_ cause: ZooKeeperError, while what: String, queue: String) {
        if cause.outcome == .unknown {
            self.init(.outcomeUnknown, "No answer came while \(what): it may or may not have happened.", cause: cause)
            return
        }
        switch cause.code {
        case .noAuth:
            self.init(
                .notPermitted,
                "ZooKeeper does not permit \(what) at \(queue): authenticate, or ask for rights on its nodes.",
                cause: cause)
        case .noNode:
            self.init(
                .queueMissing, "A node of the queue \(queue) was missing while \(what): was the queue deleted?",
                cause: cause)
        case .deadlineExceeded, .overloaded, .throttled, .notReadOnly, .sessionMoved:
            self.init(
                .unreachable, "ZooKeeper did not answer in time while \(what); nothing was changed.", cause: cause)
        case .closed, .closing: self.init(.closed, "The ZooKeeper client is closed.", cause: cause)
        case .quotaExceeded:
            self.init(
                .quotaExceeded,
                "The hard quota of \(queue) was exceeded while \(what). Raise the quota (setquota in zkCli.sh), or purge the queue: "
                    + "the servers count what a transaction creates before what it deletes, so that consumers cannot take "
                    + "messages while it is reached.", cause: cause)
        case .requestTooLarge: self.init(.payloadTooLarge, "The request is too large while \(what).", cause: cause)
        case .invalidArgument: self.init(.invalidArgument, cause.message, cause: cause)
        default: self.init(.failed, "ZooKeeper refused \(what) at \(queue).", cause: cause)
        }
    }

    /// Returns the error for a queue that is not there.
    static func missingQueue(at path: String) -> QueueError {
        QueueError(.queueMissing, "There is no queue at \(path).")
    }

    /// ZooKeeper refused an operation of the caller's own, of this index.
    init(operation index: Int, refused cause: ZooKeeperError) {
        self.init(
            .operationRefused,
            "ZooKeeper refused operation \(index) of those given to acknowledge(with:). The message is not acknowledged, and "
                + "nothing was changed: settle it in another way, or give other operations.",
            cause: ZooKeeperError(
                code: cause.code, message: cause.message, path: cause.path, operationIndex: index,
                outcome: cause.outcome))
    }

    /// Runs `body`, and gives its errors of the store in the queue's words.
    static func translating<T>(
        while what: String, queue: String, _ body: () async throws -> T
    ) async throws -> T {
        do {
            return try await body()
        } catch let error as ZooKeeperError {
            throw QueueError(error, while: what, queue: queue)
        }
    }
}

extension ZooKeeperError {
    /// Whether the same request may succeed later with nobody doing anything about it.
    var isPassing: Bool {
        if outcome == .unknown { return true }
        switch code {
        case .deadlineExceeded, .overloaded, .throttled, .notReadOnly, .sessionMoved, .sessionExpired, .unknownSession,
            .connectionLoss,
            .operationTimeout, .runtimeInconsistency:
            return true
        default: return false
        }
    }

    /// Whoever refused at once would be asked again at once, and there is no event to wait for. All other passing
    /// errors have waited for a connection, or for a deadline.
    func pauseIfRefusedAtOnce(_ store: any ZooKeeperStore) async {
        guard outcome == .notApplied, code != .deadlineExceeded else { return }
        try? await store.sleep(for: .milliseconds(50))
    }
}
