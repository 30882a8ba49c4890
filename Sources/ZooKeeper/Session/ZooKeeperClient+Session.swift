extension ZooKeeperClient {
    /// What another handle needs to take the session over: its number and its password. For tests.
    package var sessionCredentials: (number: Int64, password: [UInt8])? {
        get async { await connection.sessionIdentity.map { ($0.number, $0.password) } }
    }
}
