public import CoreMetrics
public import Logging
public import ZooKeeper

/// A queue in ZooKeeper: its path and its settings. Its only state is the set of nodes that its members have skipped
/// (``skippedNodes()``), which its copies share. Create as many as you like.
///
/// ```swift
/// let queue = try MessageQueue(zookeeper, path: "/queue")
/// try await QueueProducer(queue).send("hello")
/// for try await message in QueueConsumer(queue) {
///     try await handle(message.payload)
///     try await message.acknowledge()
/// }
/// ```
///
/// **The guarantee.** A message whose `send` returned is stored on a majority of the ensemble, once. It is delivered
/// until a consumer acknowledges it, or it is moved to the dead letters. At any moment at most one consumer holds a
/// message's lease. Within a priority, messages are handed out in the order in which the ensemble stored them, and a
/// message that was given back keeps its place.
public struct MessageQueue: Sendable {
    /// The path of the queue's root, below the client's chroot.
    public let path: String
    /// The queue's settings.
    public let settings: QueueSettings
    let store: any ZooKeeperStore
    let tree: QueueTree
    let logger: Logger
    let skipped: SkippedNodeRegistry

    /// Names a queue; nothing is sent.
    ///
    /// - Parameters:
    ///   - client: a client of the ensemble.
    ///   - path: the root of the queue. Several queues have several roots.
    ///   - settings: limits and times. All members of a queue should use the same.
    ///   - logger: gets what producers, consumers and recoveries of this queue have to say, never a payload.
    ///   - metricsFactory: gets the gauge `zookeeper_queue_skipped_nodes`, with the dimension `queue`: how many nodes the members
    ///     of this process skip. By default the system's.
    /// - Throws: ``QueueError`` (``QueueError/Code/invalidArgument``) for a bad path or setting.
    public init(
        _ client: ZooKeeperClient, path: String = "/queue", settings: QueueSettings = .init(),
        logger: Logger = Logger(label: "zookeeper.queue"), metricsFactory: any MetricsFactory = MetricsSystem.factory
    ) throws {
        try self.init(
            store: client, path: path, settings: settings, logger: logger,
            metricsFactory: metricsFactory)
    }

    /// Names a queue in another kind of ZooKeeper, such as one over REST or in memory.
    ///
    /// - Throws: as ``init(_:path:settings:logger:metricsFactory:)``.
    public init(
        store: any ZooKeeperStore, path: String = "/queue", settings: QueueSettings = .init(),
        logger: Logger = Logger(label: "zookeeper.queue"), metricsFactory: any MetricsFactory = MetricsSystem.factory
    ) throws {
        do {
            try NodePath.validate(path)
        } catch let error as ZooKeeperError {
            throw QueueError(.invalidArgument, "The queue's path is not valid. \(error.message)", cause: error)
        }
        guard path != "/" else {
            throw QueueError(.invalidArgument, "A queue cannot be the root itself: give it a path such as /queue.")
        }
        try settings.validate()
        self.store = store
        self.path = path
        self.settings = settings
        self.tree = QueueTree(root: path)
        self.logger = logger
        skipped = SkippedNodeRegistry(queue: path, store: store, logger: logger, metricsFactory: metricsFactory)
    }

    /// Creates the queue's nodes where they are missing. Producers, consumers and recoveries do it by themselves.
    ///
    /// - Throws: ``QueueError``: ``QueueError/Code/queueMissing`` when the settings do not allow to create it,
    ///   ``QueueError/Code/notPermitted``, ``QueueError/Code/unreachable``.
    public func prepare() async throws {
        try await QueueError.translating(while: "preparing the queue", queue: path) {
            let missing = try await missingFolders()
            if let missing, missing.isEmpty { return }
            if settings.createsQueue, missing?.contains(tree.epoch) ?? true {
                if missing == nil { try await store.createRoot() }
                try await create(tree.rootAndAncestors)
                try await createSettings()
            } else if missing == nil {
                throw QueueError(
                    .queueMissing,
                    "There is no queue at \(path), and the settings (createsQueue) do not create one.")
            }
            try await restoreMissingFolders(isNew: missing == nil)
        }
    }

    /// Stores what members must agree on before the last folder, which marks the queue as complete.
    private func createSettings() async throws {
        var shared = SharedSettings()
        if settings.messagesPerNode > 1 { shared.messagesPerNode = settings.messagesPerNode }
        shared.bound = settings.bound
        let defaults = QueueSettings()
        if settings.idRetention != defaults.idRetention { shared.idRetention = settings.idRetention }
        if settings.maximumDeliveries != defaults.maximumDeliveries {
            shared.maximumDeliveries = settings.maximumDeliveries
        }
        if settings.redeliveryDelay != defaults.redeliveryDelay { shared.redeliveryDelay = settings.redeliveryDelay }
        if shared.bound.bytes != nil { try await countBytes() }
        if shared != SharedSettings() { try await create([tree.settings], data: shared.encoded()) }
    }

    /// Changes how many messages a producer may store in one node: see ``QueueSettings/messagesPerNode``. Producers that are
    /// at work learn it at their next step; consumers take both forms.
    ///
    /// - Throws: ``QueueError``.
    public func setMessagesPerNode(_ count: Int) async throws {
        try await change({ $0.messagesPerNode = count }, storing: { $0.messagesPerNode = count })
    }

    /// Changes how much may stand in the queue; one without messages and bytes is no bound. Producers that are at work learn it
    /// at their next step. What stands in the queue already stays.
    ///
    /// - Throws: ``QueueError``.
    public func setBound(_ bound: QueueBound) async throws {
        try bound.validate()
        try await prepare()
        if bound.bytes != nil {
            try await QueueError.translating(while: "asking the servers to count bytes", queue: path) {
                try await countBytes()
            }
        }
        try await changeSettings { $0.bound = bound }
    }

    /// How much may stand in the queue, as it is kept in the tree.
    ///
    /// - Throws: ``QueueError``.
    public func bound() async throws -> QueueBound {
        try await QueueError.translating(while: "reading the queue's settings", queue: path) {
            try await sharedSettings().bound
        }
    }

    /// Changes how long the ids of messages are remembered: see ``QueueSettings/idRetention``.
    ///
    /// - Throws: ``QueueError``.
    public func setIDRetention(_ retention: Duration) async throws {
        try await change({ $0.idRetention = retention }, storing: { $0.idRetention = retention })
    }

    /// Changes how often a message is delivered before it goes to the dead letters: see ``QueueSettings/maximumDeliveries``.
    ///
    /// - Throws: ``QueueError``.
    public func setMaximumDeliveries(_ count: Int) async throws {
        try await change({ $0.maximumDeliveries = count }, storing: { $0.maximumDeliveries = count })
    }

    /// Changes how long a recovery keeps the message of a failed consumer: see ``QueueSettings/redeliveryDelay``.
    ///
    /// - Throws: ``QueueError``.
    public func setRedeliveryDelay(_ delay: Duration) async throws {
        try await change({ $0.redeliveryDelay = delay }, storing: { $0.redeliveryDelay = delay })
    }

    /// Checks a setting as one of this member's own, and stores it for all.
    private func change(
        _ change: (inout QueueSettings) -> Void, storing store: (inout SharedSettings) -> Void
    ) async throws {
        var changed = settings
        change(&changed)
        try changed.validate()
        try await prepare()
        try await changeSettings(store)
    }

    private func changeSettings(_ change: (inout SharedSettings) -> Void) async throws {
        try await QueueError.translating(while: "changing the queue's settings", queue: path) {
            try await create([tree.settings], data: [])
            while true {
                let node = try await store.get(tree.settings)
                var shared = SharedSettings(node.data)
                change(&shared)
                let epoch = try await sequenceEpoch()
                do {
                    // Who is at work checks the version of the epoch, finds another, and reads the settings too.
                    _ = try await store.multi([
                        .set(tree.settings, data: shared.encoded(), version: node.stat.version),
                        epoch.change(to: epoch.phase, in: tree),
                    ])
                    return
                } catch let error as ZooKeeperError
                    where error.code == .badVersion || error.outcome == .unknown && error.code != .deadlineExceeded
                {
                    // Somebody was faster; or it may have been done, and once more is harmless.
                }
            }
        }
    }

    /// Makes the servers count the bytes of the queue, which a bound in bytes needs.
    private func countBytes() async throws {
        guard try await store.capabilities.contains(.quotas) else {
            throw QueueError(
                .invalidArgument, "This kind of ZooKeeper does not count bytes: bound the number of messages instead.")
        }
        try await store.countBytes(below: path)
    }

    /// How full the queue is.
    func fill(countingBytes: Bool) async throws -> SendRoom.Fill {
        func count(_ path: String) async throws -> Int { Int(try await store.exists(path)?.numChildren ?? 0) }
        async let (items, earlier, producers) = (count(tree.items), count(tree.earlier), count(tree.producers))
        async let counted = countingBytes ? try await store.bytes(below: path) : nil
        var bytes = try await counted
        if countingBytes, bytes == nil {
            // Somebody has removed the count.
            try await countBytes()
            bytes = try await store.bytes(below: path)
        }
        return SendRoom.Fill(nodes: try await items + earlier, bytes: bytes, producers: try await producers)
    }

    /// What the members of the queue must agree on.
    func sharedSettings() async throws -> SharedSettings {
        do {
            return SharedSettings(try await store.get(tree.settings).data)
        } catch let error as ZooKeeperError where error.code == .noNode {
            return SharedSettings()
        }
    }

    func create(_ paths: [String], data: [UInt8] = []) async throws {
        for path in paths {
            var isDone = false
            while !isDone {
                do {
                    _ = try await store.create(path, data: data, mode: .persistent)
                    isDone = true
                } catch let error as ZooKeeperError where error.code == .nodeExists {
                    isDone = true
                } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                    // Creating it again is harmless, and waits for a connection.
                } catch let error as ZooKeeperError where error.code == .noAuth {
                    // An ancestor that may be used, but not created below.
                    guard try await store.exists(path) != nil else { throw error }
                    isDone = true
                }
            }
        }
    }
}
