public import Configuration

extension ZooKeeperConfiguration {
    /// Creates a configuration from a reader.
    ///
    /// | key | type | default |
    /// |---|---|---|
    /// | `servers` | string | required |
    /// | `followsMembers` | bool | true |
    /// | `sessionTimeoutSeconds` | double | 10 |
    /// | `auth` | string, secret: `user:password` | none |
    /// | `inFlightWindow` | int | 500 |
    /// | `inFlightBytes` | int | 16777216 |
    /// | `maximumWaitingCalls` | int | 65536 |
    /// | `callDeadlineSeconds` | double | 30 |
    /// | `maximumRequestSize` | int | 524288 |
    ///
    /// - Throws: ``ZooKeeperError`` for an invalid value, and the reader's error when `servers` is missing.
    public init(config: ConfigReader) throws {
        func seconds(_ key: ConfigKey, _ fallback: Double) -> Duration {
            // Clamped, because a Duration traps on a value far out of range. `validate` refuses the clamped value.
            .seconds(max(-1, min(1e9, config.double(forKey: key, default: fallback))))
        }
        try self.init(
            servers: config.requiredString(forKey: "servers"),
            followsMembers: config.bool(forKey: "followsMembers", default: true),
            sessionTimeout: seconds("sessionTimeoutSeconds", 10),
            authentication: config.string(forKey: "auth", isSecret: true).map { try Authentication(parsing: $0) },
            inFlightWindow: config.int(forKey: "inFlightWindow", default: 500),
            inFlightBytes: config.int(forKey: "inFlightBytes", default: 16 << 20),
            maximumWaitingCalls: config.int(forKey: "maximumWaitingCalls", default: 65_536),
            callDeadline: seconds("callDeadlineSeconds", 30),
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
                code: .invalidArgument, message: "Credentials must have the form user:password.", path: nil,
                outcome: .notApplied)
        }
        self = .digest(user: String(text[..<colon]), password: String(text[text.utf8.index(after: colon)...]))
    }
}
