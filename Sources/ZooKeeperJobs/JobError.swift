/// An error of the jobs: what failed, and what to do about it. Errors of the queue itself are `QueueError`s.
public struct JobError: Error, Sendable {
    /// The kind of an error.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        /// The name of the kind.
        public let description: String

        /// A job, its options or a batch are invalid. Nothing was sent. Correct them.
        public static let invalidJob = Code(description: "invalidJob")
        /// The job could not be encoded. Nothing was sent.
        public static let encodingFailed = Code(description: "encodingFailed")
        /// No handler of this worker accepts the job, so the worker requeued it. Add a handler, or upgrade the
        /// worker.
        public static let unhandled = Code(description: "unhandled")
        /// A worker is set up in a way that cannot work, such as two handlers for one name. Correct the program.
        public static let invalidWorker = Code(description: "invalidWorker")
        /// A schedule is invalid, or has no tick. Correct it.
        public static let invalidSchedule = Code(description: "invalidSchedule")
        /// Other processes changed the same nodes each time that this call tried to. Nothing was changed. Try again.
        public static let contended = Code(description: "contended")
    }

    /// The kind of the error.
    public let code: Code
    /// What failed and what to do, in English. It contains nothing of a payload.
    public let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}

extension JobError: CustomStringConvertible {
    /// What failed and what to do.
    public var description: String { message }
}
