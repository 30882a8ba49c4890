public import ZooKeeper

extension ZooKeeperError.Code {
    /// The gateway sent a response that cannot be understood, which the message quotes. It has the number of
    /// ZooKeeper's error for data that cannot be decoded (`ZMARSHALLINGERROR`).
    public static let unreadableResponse = ZooKeeperError.Code(rawValue: -5)
}

extension ZooKeeperError {
    static func noNode(_ path: String) -> ZooKeeperError { refused(.noNode, path, "The node does not exist.") }

    static func refused(_ code: Code, _ path: String, _ message: String) -> ZooKeeperError {
        ZooKeeperError(code: code, message: message, path: path, outcome: .notApplied)
    }
}
