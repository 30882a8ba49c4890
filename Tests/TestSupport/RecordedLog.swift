public import Logging
import Synchronization

/// Records log entries, which a test can check.
public final class RecordedLog: Sendable {
    /// An entry of the log.
    public struct Entry: Sendable {
        /// The level of the entry.
        public let level: Logger.Level
        /// The message of the entry.
        public let message: String
        /// The metadata of the entry.
        public let metadata: [String: String]
    }

    private let storage = Mutex<[Entry]>([])

    /// Creates an empty log.
    public init() {}

    /// All entries so far.
    public var entries: [Entry] { storage.withLock { $0 } }

    /// Removes all entries.
    public func clear() { storage.withLock { $0 = [] } }

    /// Returns a logger that writes to this log at every level.
    public func logger() -> Logger { Logger(label: "test", factory: { _ in Handler(log: self) }) }

    private struct Handler: LogHandler {
        let log: RecordedLog
        var logLevel = Logger.Level.trace
        var metadata: Logger.Metadata = [:]
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) {
            let entry = Entry(
                level: event.level, message: "\(event.message)",
                metadata: (event.metadata ?? [:]).mapValues { "\($0)" })
            log.storage.withLock { $0.append(entry) }
        }
    }
}
