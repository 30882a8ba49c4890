public import ZooKeeperQueue

/// How a job is stored.
public struct JobOptions: Sendable, Hashable {
    /// The job's ID: 1 to 255 bytes of UTF-8. Of all jobs that are pushed with one ID within the queue's
    /// `deduplicationWindow`, the queue stores one. Default: a random ID.
    public var id: String?
    /// 0…999; a lower number is delivered first. Default: 100.
    public var priority: Int
    /// How long the queue holds the job back. Default: zero.
    public var delay: Duration
    /// The earliest start, by the ensemble's clock. Cannot be combined with ``delay``. Default: none.
    public var deliverAt: EnsembleTime?
    /// How long the job is valid. An expired job is not run. Default: for ever.
    public var expiresAfter: Duration?
    /// The key of the job's group: jobs of one group run one at a time, in the order in which they were stored. Such a
    /// job cannot have a delay. Default: none.
    public var group: String?
    /// Skips the push while an equal job is stored. Cannot be combined with ``id``. Default: never.
    public var unique: UniquePolicy?
    /// Further headers. Names that begin with `zkq-`, and `content-type`, are reserved. Default: none.
    public var headers: [String: String]

    /// Creates options. Each property describes its setting.
    public init(
        id: String? = nil, priority: Int = 100, delay: Duration = .zero, deliverAt: EnsembleTime? = nil,
        expiresAfter: Duration? = nil, group: String? = nil, unique: UniquePolicy? = nil,
        headers: [String: String] = [:]
    ) {
        self.id = id
        self.priority = priority
        self.delay = delay
        self.deliverAt = deliverAt
        self.expiresAfter = expiresAfter
        self.group = group
        self.unique = unique
        self.headers = headers
    }
}
