/// An error: what failed, whether the request may nevertheless have been applied, and what to do.
public struct ZooKeeperError: Error, Sendable, Hashable {
    /// The kind of an error. ZooKeeper's own codes are negative, and those of this package are positive.
    public struct Code: RawRepresentable, Sendable, Hashable {
        /// ZooKeeper's code (`enum ZOO_ERRORS` in `zookeeper.h`), or a positive number of this package.
        public let rawValue: Int32
        /// Creates a code from its number.
        public init(rawValue: Int32) { self.rawValue = rawValue }

        /// The node, or the parent of a node to create, does not exist. Check the path, or create the missing node.
        public static let noNode = Code(rawValue: -101)
        /// The access control list does not permit the operation. Authenticate the client, or change the list.
        public static let noAuth = Code(rawValue: -102)
        /// The node's version is not the expected one. Read the node again, and repeat the change at its current
        /// version.
        public static let badVersion = Code(rawValue: -103)
        /// An ephemeral node cannot have children. Create the child below a persistent node.
        public static let noChildrenForEphemerals = Code(rawValue: -108)
        /// The node already exists. Use the existing node, or choose another name.
        public static let nodeExists = Code(rawValue: -110)
        /// The node has children and cannot be deleted. Delete its children first.
        public static let notEmpty = Code(rawValue: -111)
        /// The session expired before a response arrived. Check ``ZooKeeperError/outcome-swift.property`` before you
        /// repeat the request.
        public static let sessionExpired = Code(rawValue: -112)
        /// The server does not know the session yet, or no longer. Nothing was changed. Repeat the request.
        public static let unknownSession = Code(rawValue: -12)
        /// The access control list is invalid. Correct the list. The scheme `auth` requires credentials.
        public static let invalidACL = Code(rawValue: -114)
        /// The ensemble refused the credentials. Correct the credentials.
        public static let authenticationFailed = Code(rawValue: -115)
        /// The connection was closed before a response arrived, because the client was closed or continued the session
        /// at other servers. Check ``ZooKeeperError/outcome-swift.property`` before you repeat the request.
        public static let closing = Code(rawValue: -116)
        /// The session has moved to another server. Nothing was changed. Repeat the request.
        public static let sessionMoved = Code(rawValue: -118)
        /// A majority of the new servers is not connected and in sync. Nothing was changed. Start the new servers, wait
        /// until they have joined, and try again.
        public static let newConfigNoQuorum = Code(rawValue: -13)
        /// Another reconfiguration of the ensemble is in progress. Nothing was changed. Try again later.
        public static let reconfigInProgress = Code(rawValue: -14)
        /// Dynamic reconfiguration is disabled (`reconfigEnabled`). Enable it on every server.
        public static let reconfigDisabled = Code(rawValue: -123)
        /// The session is local to its server, which creates no ephemeral nodes for local sessions. Disable local
        /// sessions on the servers (`localSessionsEnabled`), or allow their upgrade (`localSessionsUpgradingEnabled`).
        public static let ephemeralOnLocalSession = Code(rawValue: -120)
        /// The server has no such watch. There is nothing to remove.
        public static let noWatcher = Code(rawValue: -121)
        /// The request took longer than allowed. Its outcome is unknown. Read the node before you repeat the request.
        public static let requestTimeout = Code(rawValue: -122)
        /// The servers require authentication and close connections without it (`enforce.auth.schemes`,
        /// `sessionRequireClientSASLAuth`). Nothing was changed. Authenticate the client with a required scheme.
        public static let sessionClosedRequireSaslAuth = Code(rawValue: -124)
        /// A hard quota of the path or of an ancestor would be exceeded (`enforceQuota`). Nothing was changed. Delete
        /// nodes, or raise the quota.
        public static let quotaExceeded = Code(rawValue: -125)
        /// The server is read-only, because it has no connection to a majority. Repeat the write when a majority is up.
        public static let notReadOnly = Code(rawValue: -119)
        /// The server was overloaded. Nothing was changed. Try again later.
        public static let throttled = Code(rawValue: -127)
        /// The connection was lost before a response arrived. Check ``ZooKeeperError/outcome-swift.property`` before
        /// you repeat the request.
        public static let connectionLoss = Code(rawValue: -4)
        /// The server sent nothing for two thirds of the session timeout. Check
        /// ``ZooKeeperError/outcome-swift.property`` before you repeat the request.
        public static let operationTimeout = Code(rawValue: -7)
        /// Responses no longer matched requests, so the client closed the connection. Check
        /// ``ZooKeeperError/outcome-swift.property`` before you repeat the request.
        public static let runtimeInconsistency = Code(rawValue: -2)
        /// The server could not decode the request. Raise its `jute.maxbuffer` if the request is too large for it.
        public static let marshallingError = Code(rawValue: -5)
        /// The server does not support the operation, or is not configured to allow it. Use a newer server, or change
        /// its configuration.
        public static let unimplemented = Code(rawValue: -6)
        /// The server or the C client refused the arguments. Correct them.
        public static let badArguments = Code(rawValue: -8)

        /// The client refused an argument. Nothing was sent. Correct the argument.
        public static let invalidArgument = Code(rawValue: 1)
        /// The request is larger than ``ZooKeeperConfiguration/maximumRequestSize``. Nothing was sent. Split the
        /// request, or raise the limit.
        public static let requestTooLarge = Code(rawValue: 2)
        /// The call's deadline has passed. Check ``ZooKeeperError/outcome-swift.property`` before you repeat the call,
        /// or allow more time.
        public static let deadlineExceeded = Code(rawValue: 3)
        /// The client is closed, or was closed while the request waited to be sent. Create another client.
        public static let closed = Code(rawValue: 4)
        /// The watched paths of the session would be too long to be sent again in one packet. Watch fewer nodes, or use
        /// several clients.
        public static let tooManyWatches = Code(rawValue: 5)
        /// Too many requests wait to be sent. Wait until earlier calls return, or raise
        /// ``ZooKeeperConfiguration/maximumQueuedRequests``.
        public static let overloaded = Code(rawValue: 6)
        /// The session would have too many ephemeral nodes to delete in one transaction. Delete some of them, or use
        /// several clients.
        public static let tooManyEphemerals = Code(rawValue: 8)
        /// A server's response to a read is invalid, or larger than the transport accepts (128 MiB). Read less at a
        /// time, or look for what changes the server's responses on their way.
        public static let invalidResponse = Code(rawValue: 9)
        /// `run()` was called a second time. Create another client to run again.
        public static let alreadyRunning = Code(rawValue: 7)
    }

    /// Whether the call may have changed something.
    public enum Outcome: Sendable, Hashable {
        /// The call certainly changed nothing.
        case notApplied
        /// The request was sent and no response arrived. It may or may not have been applied. Read the node, or repeat
        /// the request in a form that cannot be applied twice.
        case unknown
    }

    /// The kind of the error.
    public let code: Code
    /// What failed and what to do, for people.
    public let message: String
    /// The path of the call, or of the failed operation of a multi.
    public let path: String?
    /// The index of the failed operation of a multi. `nil` when the request was not a
    /// multi, or the multi failed as a whole.
    public let operationIndex: Int?
    /// Whether the request may have changed something.
    public let outcome: Outcome

    /// Creates an error. For other implementations of ``ZooKeeperStore``.
    public init(code: Code, message: String, path: String?, operationIndex: Int? = nil, outcome: Outcome) {
        self.code = code
        self.message = message
        self.path = path
        self.operationIndex = operationIndex
        self.outcome = outcome
    }
}

extension ZooKeeperError: CustomStringConvertible {
    /// What failed and what to do, without payloads or secrets.
    public var description: String {
        var text = message
        switch (path, operationIndex) {
        case (let path?, let index?): text += " Path: \(path) (operation at index \(index) of the multi)."
        case (let path?, nil): text += " Path: \(path)."
        case (nil, let index?): text += " Operation at index \(index) of the multi."
        case (nil, nil): break
        }
        if outcome == .unknown { text += " The request may or may not have been applied." }
        return text
    }
}
