extension ZooKeeperClient {
    /// The session's id and password, with which another handle can take the session over. For tests.
    package var sessionCredentials: (number: Int64, password: [UInt8])? {
        get async { await connection.sessionIdentity.map { ($0.number, $0.password) } }
    }
}
