public import Configuration

extension ZooKeeperConfiguration {
    /// Creates a configuration from a reader.
    ///
    /// | key | type | default | older name |
    /// |---|---|---|---|
    /// | `servers` | string | required | |
    /// | `followsReconfiguration` | bool | true | `followsMembers` |
    /// | `sessionTimeoutSeconds` | double | 10 | |
    /// | `auth` | string, secret: `user:password` | none | |
    /// | `maximumInFlightRequests` | int | 500 | `inFlightWindow` |
    /// | `maximumInFlightBytes` | int | 16777216 | `inFlightBytes` |
    /// | `maximumQueuedRequests` | int | 65536 | `maximumWaitingCalls` |
    /// | `requestTimeoutSeconds` | double | 30 | `callDeadlineSeconds` |
    /// | `maximumRequestSize` | int | 524288 | |
    ///
    /// An older name still works. When both names are set, the current one applies.
    ///
    /// - Throws: ``ZooKeeperError`` for an invalid value, and the reader's error when `servers` is missing.
    public init(config: ConfigReader) throws {
        func integer(_ key: ConfigKey, formerly old: ConfigKey, default value: Int) -> Int {
            config.int(forKey: key) ?? config.int(forKey: old, default: value)
        }
        func seconds(_ key: ConfigKey, formerly old: ConfigKey? = nil, default value: Double) -> Duration {
            let number = config.double(forKey: key) ?? old.flatMap { config.double(forKey: $0) } ?? value
            // Clamped, because a Duration traps on a value far out of range. `validate` refuses the clamped value.
            return .seconds(max(-1, min(1e9, number)))
        }
        try self.init(
            servers: config.requiredString(forKey: "servers"),
            followsReconfiguration: config.bool(forKey: "followsReconfiguration")
                ?? config.bool(forKey: "followsMembers", default: true),
            sessionTimeout: seconds("sessionTimeoutSeconds", default: 10),
            authentication: config.string(forKey: "auth", isSecret: true).map { try Authentication(parsing: $0) },
            maximumInFlightRequests: integer("maximumInFlightRequests", formerly: "inFlightWindow", default: 500),
            maximumInFlightBytes: integer("maximumInFlightBytes", formerly: "inFlightBytes", default: 16 << 20),
            maximumQueuedRequests: integer("maximumQueuedRequests", formerly: "maximumWaitingCalls", default: 65_536),
            requestTimeout: seconds("requestTimeoutSeconds", formerly: "callDeadlineSeconds", default: 30),
            maximumRequestSize: config.int(forKey: "maximumRequestSize", default: 512 << 10))
    }
}

extension ZooKeeperConfiguration.Authentication {
    /// Parses `user:password`.
    ///
    /// - Throws: ``ZooKeeperError`` when there is no colon or no user. The error does not repeat the
    ///   text, because it may be a password.
    public init(parsing text: String) throws {
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")), colon != text.startIndex else {
            throw ZooKeeperError(
                code: .invalidArgument, message: "The credentials must have the form USER:PASSWORD.", path: nil,
                outcome: .notApplied)
        }
        self = .digest(user: String(text[..<colon]), password: String(text[text.utf8.index(after: colon)...]))
    }
}
