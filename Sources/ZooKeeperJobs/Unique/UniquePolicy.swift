/// Whether, and for how long, a job prevents equal jobs from being stored.
///
/// Jobs are equal if they have the same name and the same key. Without a key, the encoded job is the key.
///
/// ```swift
/// try await jobs.push(ChargeCard(order: "o-42", cents: 999), .init(unique: .until(.done, key: "o-42")))
/// ```
public struct UniquePolicy: Sendable, Hashable {
    /// What ends the time in which no equal job is stored.
    public struct Event: Sendable, Hashable {
        enum Kind: Sendable, Hashable { case started, done }
        let kind: Kind

        /// The job's handler begins for the first time.
        public static let started = Event(kind: .started)
        /// The job is acknowledged, or moves to the dead letters because its handler failed too often.
        public static let done = Event(kind: .done)
    }

    /// What ends the lock early; `nil` for nothing.
    let event: Event?
    let limit: Duration
    let key: String?

    /// Blocks equal jobs for this time, whatever happens to the first one.
    ///
    /// - Parameters:
    ///   - time: more than zero, and at most ten years. It begins with the push, or with the end of the job's delay.
    ///   - key: 1 to 180 bytes of UTF-8. Default: the encoded job, which must be as short.
    public static func within(_ time: Duration, key: String? = nil) -> UniquePolicy {
        UniquePolicy(event: nil, limit: time, key: key)
    }

    /// Blocks equal jobs until the event, or until a time limit.
    ///
    /// The limit frees the key if the event never happens, for example because the job was cancelled or purged, or
    /// because it crashes each worker.
    ///
    /// - Parameters:
    ///   - event: what ends the time.
    ///   - key: 1 to 180 bytes of UTF-8. Default: the encoded job, which must be as short.
    ///   - limit: more than zero, and at most ten years. It begins with the push, or with the end of the job's delay.
    ///     Default: 24 hours.
    public static func until(
        _ event: Event, key: String? = nil, atMost limit: Duration = .seconds(86_400)
    ) -> UniquePolicy {
        UniquePolicy(event: event, limit: limit, key: key)
    }
}
