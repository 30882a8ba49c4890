extension ZooKeeperError {
    /// Creates the error for a result code of the C client.
    ///
    /// - Parameter sent: Whether the request had been sent when the C client reported the code. Codes with which the C
    ///   client itself ends a sent request leave its outcome unknown. Codes from a server are definite. See
    ///   https://zookeeper.apache.org/doc/r3.8.0/zookeeperProgrammers.html#ch_zkErrorHandling (connection loss).
    package init(code: Code, path: String?, operationIndex: Int? = nil, sent: Bool) {
        self.init(
            code: code, message: Self.message(for: code), path: path, operationIndex: operationIndex,
            outcome: sent && code.leavesOutcomeUnknown ? .unknown : .notApplied)
    }

    /// Returns the message for a code of ZooKeeper or of the C client.
    package static func message(for code: Code) -> String {
        switch code {
        case .noNode: "The node does not exist. Check the path, or create the node."
        case .noAuth: "Permission denied. Check the access control lists of the node and its parent."
        case .badVersion: "The node's version is not the expected one. Read the node again before you change it."
        case .noChildrenForEphemerals:
            "The parent is ephemeral, and an ephemeral node cannot have children. Use a persistent parent."
        case .nodeExists: "The node already exists. Use it, or choose another name."
        case .notEmpty: "The node has children. Delete them first."
        case .sessionExpired: "The session expired before a response arrived."
        case .invalidACL:
            "The access control list is invalid, or uses the scheme auth in a session without credentials. Correct the "
                + "list, or authenticate the client."
        case .authenticationFailed: "The ensemble refused the credentials. Check the user name and the password."
        case .closing: "The connection was closed before a response arrived."
        case .unknownSession: "The server does not know the session. Repeat the request."
        case .sessionMoved: "The session has moved to another server. Repeat the request."
        case .newConfigNoQuorum:
            "The new ensemble has no majority that is connected and in sync. Start its servers first."
        case .reconfigInProgress: "Another reconfiguration of the ensemble is in progress. Try again later."
        case .reconfigDisabled:
            "Dynamic reconfiguration is disabled. Set reconfigEnabled=true in zoo.cfg on every server, and restart "
                + "the servers."
        case .notReadOnly: "The server is read-only, because it has no contact with a majority. Try again later."
        case .throttled: "The server is overloaded and did not execute the request. Try again later."
        case .ephemeralOnLocalSession:
            "A local session cannot create ephemeral nodes. Set localSessionsUpgradingEnabled=true on the servers."
        case .noWatcher: "The server has no such watch. There is nothing to remove."
        case .requestTimeout: "The request took longer than allowed."
        case .sessionClosedRequireSaslAuth:
            "The servers require authentication. Configure digest credentials for the client, or change the servers' "
                + "enforce.auth settings."
        case .quotaExceeded:
            "The request exceeds a hard quota of the path or of an ancestor. Delete nodes, or raise the quota "
                + "(zkCli.sh: listquota PATH, setquota -N COUNT -B BYTES PATH)."
        case .marshallingError:
            "The server could not decode the request, which may exceed its size limit (jute.maxbuffer). Send less "
                + "at a time, or raise the limit on every server."
        case .connectionLoss: "The connection was lost before a response arrived."
        case .operationTimeout: "The server sent nothing for two thirds of the session timeout."
        case .runtimeInconsistency:
            "The responses did not match the requests, so the connection was closed. Report this as a bug if it recurs."
        case .invalidResponse:
            "The server's response is invalid or too large, so the connection was closed. Read less at a time, or look "
                + "for what changes responses on their way."
        case .unimplemented:
            "The server or the client's transport does not support the operation, or the server is not configured to "
                + "allow it. Use a newer server, change its configuration, or use the transport nio."
        case .badArguments: "The server or the C client refused the arguments of the request. Correct them."
        default:
            "ZooKeeper reported the error \(code.rawValue), which this client does not know. See ZOO_ERRORS in "
                + "zookeeper.h."
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
