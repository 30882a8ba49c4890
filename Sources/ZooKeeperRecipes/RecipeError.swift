public import ZooKeeper

/// An error of a recipe: what failed, and what to do about it. Errors that ZooKeeper reports are `ZooKeeperError`s.
public struct RecipeError: Error, Sendable {
    /// The kind of an error.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        /// The name of the kind.
        public let description: String

        /// The time limit passed. The caller holds nothing. Try again.
        public static let timedOut = Code(description: "timedOut")
        /// The lock, or the leadership, was lost before the closure ended, because the session had ended or the node
        /// was deleted. Another process may hold it now. What the closure did after that was not protected.
        public static let lost = Code(description: "lost")
        /// No response arrived, so the change may or may not have been made. Check before you retry.
        public static let outcomeUnknown = Code(description: "outcomeUnknown")
        /// The closure has ended, and the lock cannot be released, because the client may not delete its node. Grant
        /// the permission, or close the client.
        public static let notReleased = Code(description: "notReleased")
        /// The server's sequence numbers below the path are used up, after two billion uses. Delete the path's node
        /// while no process uses it, or use another path.
        public static let exhausted = Code(description: "exhausted")
        /// An argument, or the data of a node, is invalid.
        public static let invalidArgument = Code(description: "invalidArgument")
    }

    /// The kind of the error.
    public let code: Code
    /// What failed and what to do, in English.
    public let message: String
    /// The last error that ZooKeeper or its client reported.
    public let cause: ZooKeeperError?

    init(_ code: Code, _ message: String, cause: ZooKeeperError? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }
}

extension RecipeError: CustomStringConvertible {
    /// What failed and what to do.
    public var description: String { cause.map { "\(message) (ZooKeeper: \($0))" } ?? message }
}
