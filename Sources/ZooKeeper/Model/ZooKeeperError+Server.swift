extension ZooKeeperError {
    /// Creates the error for a result code of the C client.
    ///
    /// - Parameter sent: Whether the request had been sent when the C client reported the code. Codes with which the C
    ///   client itself ends a sent request leave its outcome unknown. Codes from a server are definite. See
    ///   https://zookeeper.apache.org/doc/r3.8.0/zookeeperProgrammers.html#ch_zkErrorHandling (connection loss).
    init(code: Code, path: String?, operationIndex: Int? = nil, sent: Bool) {
        self.init(
            code: code, message: Self.message(for: code), path: path, operationIndex: operationIndex,
            outcome: sent && code.leavesOutcomeUnknown ? .unknown : .notApplied)
    }

    private static func message(for code: Code) -> String {
        switch code {
        case .noNode: "The node does not exist."
        case .noAuth:
            "The access control list of the node, or of its parent, does not allow this to the session's identity."
        case .badVersion: "The node's version is not the expected one: somebody changed it."
        case .noChildrenForEphemerals: "The parent is ephemeral, and an ephemeral node cannot have children."
        case .nodeExists: "The node exists already."
        case .notEmpty: "The node has children: delete them first."
        case .sessionExpired: "The session expired before an answer came."
        case .invalidACL:
            "The access control list is empty or not valid, or names the creator while the session is not authenticated."
        case .authenticationFailed: "The ensemble refused the session's credentials."
        case .closing: "The client was closed before an answer came."
        case .sessionMoved: "The session went on at another server."
        case .newConfigNoQuorum: "A majority of the new members is not connected and in step: start them first."
        case .reconfigInProgress: "Another change of the ensemble's members is under way."
        case .reconfigDisabled: "The servers do not allow to change their members: set reconfigEnabled=true."
        case .notReadOnly: "The server is read-only for now."
        case .throttled: "The server has too much to do and did not execute the request: repeat it after a pause."
        case .ephemeralOnLocalSession:
            "The session is local to its server, which makes no ephemeral nodes for it: set localSessionsUpgradingEnabled=true."
        case .noWatcher: "The server holds no such watch."
        case .requestTimeout: "The request took longer than allowed."
        case .sessionClosedRequireSaslAuth:
            "The servers demand that clients authenticate, by one of their enforce.auth.schemes: set the configuration's "
                + "authentication (digest), or change the servers' enforce.auth settings."
        case .quotaExceeded:
            "A hard quota of the path or of an ancestor would be exceeded: delete nodes, or raise the quota "
                + "(zkCli.sh: listquota PATH, setquota -N COUNT -B BYTES PATH)."
        case .marshallingError: "The server could not read the request: is its jute.maxbuffer too small for it?"
        case .connectionLoss: "The connection was lost before an answer came."
        case .operationTimeout: "The server said nothing for two thirds of the session timeout."
        case .runtimeInconsistency: "The connection was dropped since answers did not match requests."
        case .unimplemented: "The server does not know this operation, or does not allow it by its configuration."
        case .badArguments: "The server refused the arguments."
        default: "ZooKeeper answered with the code \(code.rawValue)."
        }
    }
}

extension ZooKeeperError.Code {
    /// Whether a sent request may have been applied although it ended with this code. The C client itself ends a
    /// request with such a code when no response arrives.
    var leavesOutcomeUnknown: Bool {
        switch self {
        case .runtimeInconsistency, .connectionLoss, .operationTimeout, .sessionExpired, .authenticationFailed,
            .closing, .requestTimeout:
            true
        default: false
        }
    }
}
