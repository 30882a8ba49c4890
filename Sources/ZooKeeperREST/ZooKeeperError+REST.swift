public import ZooKeeper

extension ZooKeeperError.Code {
    /// The gateway sent a response that cannot be understood, which the message quotes. It has the number of
    /// ZooKeeper's error for data that cannot be decoded (`ZMARSHALLINGERROR`).
    public static let unreadableResponse = ZooKeeperError.Code(rawValue: -5)
}

extension ZooKeeperError {
    static func noNode(_ path: String) -> ZooKeeperError { ZooKeeperError(code: .noNode, path: path, sent: true) }

    static func unsupportedMode(_ path: String) -> ZooKeeperError {
        refused(
            .invalidArgument, path,
            "A gateway cannot create a container or a node with a time to live. Use another mode.")
    }

    static func overloadedGateway(_ path: String? = nil) -> ZooKeeperError {
        refused(.deadlineExceeded, path, "The gateway is overloaded and did not execute the request. Try again later.")
    }

    static func requestTooLargeForGateway(_ path: String? = nil) -> ZooKeeperError {
        refused(.requestTooLarge, path, "The request is too large for the gateway. Send less at a time.")
    }

    static func refused(_ code: Code, _ path: String?, _ message: String) -> ZooKeeperError {
        ZooKeeperError(code: code, message: message, path: path, outcome: .notApplied)
    }
}
