/// What went wrong, whether it may have been applied all the same, and what to do.
public struct ZooKeeperError: Error, Sendable, Hashable {
    /// The kind of an error: ZooKeeper's own codes are negative, this library's are positive.
    public struct Code: RawRepresentable, Sendable, Hashable {
        /// ZooKeeper's code (`enum ZOO_ERRORS` in `zookeeper.h`), or a positive number of this library.
        public let rawValue: Int32
        /// Creates a code from its number.
        public init(rawValue: Int32) { self.rawValue = rawValue }

        /// The node is not there.
        public static let noNode = Code(rawValue: -101)
        /// The access control list does not allow it.
        public static let noAuth = Code(rawValue: -102)
        /// The node's version is not the expected one.
        public static let badVersion = Code(rawValue: -103)
        /// An ephemeral node cannot have children.
        public static let noChildrenForEphemerals = Code(rawValue: -108)
        /// The node is there already.
        public static let nodeExists = Code(rawValue: -110)
        /// The node has children and cannot be deleted.
        public static let notEmpty = Code(rawValue: -111)
        /// The session ended before an answer came.
        public static let sessionExpired = Code(rawValue: -112)
        /// The server does not know the session yet, or no longer; nothing was done.
        public static let unknownSession = Code(rawValue: -12)
        /// The access control list is not valid.
        public static let invalidACL = Code(rawValue: -114)
        /// The ensemble refused the credentials.
        public static let authenticationFailed = Code(rawValue: -115)
        /// The client was closed before an answer came.
        public static let closing = Code(rawValue: -116)
        /// The session went on at another server; nothing was done.
        public static let sessionMoved = Code(rawValue: -118)
        /// A majority of the new members is not connected and in step; nothing was changed.
        public static let newConfigNoQuorum = Code(rawValue: -13)
        /// Another change of the members is under way; nothing was changed.
        public static let reconfigInProgress = Code(rawValue: -14)
        /// The servers do not allow to change their members (`reconfigEnabled`).
        public static let reconfigDisabled = Code(rawValue: -123)
        /// The session is local to its server, which does not create ephemeral nodes for local sessions.
        public static let ephemeralOnLocalSession = Code(rawValue: -120)
        /// The server holds no such watch.
        public static let noWatcher = Code(rawValue: -121)
        /// The request took longer than is allowed, so that its outcome is unknown.
        public static let requestTimeout = Code(rawValue: -122)
        /// The servers require authentication and close connections without it (`enforce.auth.schemes`,
        /// `sessionRequireClientSASLAuth`). Nothing was done.
        public static let sessionClosedRequireSaslAuth = Code(rawValue: -124)
        /// A hard quota of the path or of an ancestor would be exceeded (`enforceQuota`). Nothing was changed.
        public static let quotaExceeded = Code(rawValue: -125)
        /// The server is read-only.
        public static let notReadOnly = Code(rawValue: -119)
        /// The server had too much to do; nothing was done.
        public static let throttled = Code(rawValue: -127)
        /// The connection broke before an answer came.
        public static let connectionLoss = Code(rawValue: -4)
        /// The server said nothing for two thirds of the session timeout.
        public static let operationTimeout = Code(rawValue: -7)
        /// The answers no longer matched the questions, so the C client dropped the connection.
        public static let runtimeInconsistency = Code(rawValue: -2)
        /// The server could not read the request.
        public static let marshallingError = Code(rawValue: -5)
        /// The server does not know the operation, or is not configured to allow it.
        public static let unimplemented = Code(rawValue: -6)
        /// The server, or the C client, refused the arguments.
        public static let badArguments = Code(rawValue: -8)

        /// An argument was refused by this library; nothing was sent.
        public static let invalidArgument = Code(rawValue: 1)
        /// The request is larger than ``ZooKeeperConfiguration/maximumRequestSize``; nothing was sent.
        public static let requestTooLarge = Code(rawValue: 2)
        /// The call's deadline passed.
        public static let deadlineExceeded = Code(rawValue: 3)
        /// The client is closed, or was closed while the call waited to be sent.
        public static let closed = Code(rawValue: 4)
        /// The session's watched paths would be too long altogether to be sent again in one packet.
        public static let tooManyWatches = Code(rawValue: 5)
        /// Too many calls wait to be sent.
        public static let overloaded = Code(rawValue: 6)
        /// The session's ephemeral nodes would be too many to be deleted in one transaction.
        public static let tooManyEphemerals = Code(rawValue: 8)
        /// `run()` was called a second time.
        public static let alreadyRunning = Code(rawValue: 7)
    }

    /// Whether the call may have changed something.
    public enum Outcome: Sendable, Hashable {
        /// Certain: nothing was changed by this call.
        case notApplied
        /// The request was sent and no answer came: it may or may not have been applied. Read, or repeat it in a
        /// form that cannot be applied twice.
        case unknown
    }

    /// The kind.
    public let code: Code
    /// What was wrong and what to do, for a person.
    public let message: String
    /// The path that the call, or the failing operation of a multi, was about.
    public let path: String?
    /// Which operation of a multi failed, from 0; `nil` when it was no multi, or failed as a whole.
    public let operationIndex: Int?
    /// Whether something may have been changed.
    public let outcome: Outcome

    /// Creates an error. Meant for other implementations of a ZooKeeper.
    public init(code: Code, message: String, path: String?, operationIndex: Int? = nil, outcome: Outcome) {
        self.code = code
        self.message = message
        self.path = path
        self.operationIndex = operationIndex
        self.outcome = outcome
    }
}

extension ZooKeeperError: CustomStringConvertible {
    /// What was wrong and what to do, without payloads or secrets.
    public var description: String {
        var text = message
        if let path { text += " Path: \(path)." }
        if let operationIndex { text += " Operation \(operationIndex) of the multi." }
        if outcome == .unknown { text += " It may or may not have been applied." }
        return text
    }
}
