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
    ///   - metricsFactory: gets the gauge `zookeeper_queue_skipped_nodes`, with the dimension `queue`: how many nodes
    ///     the members of this process skip. By default the system's.
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
            let missing = try await folders.missing()
            if let missing, missing.isEmpty { return }
            if settings.createsQueue, missing?.contains(tree.epoch) ?? true {
                if missing == nil { try await store.createRoot() }
                try await folders.createRootAndAncestors()
                try await attributes.create(from: settings)
            } else if missing == nil {
                throw QueueError(
                    .queueMissing,
                    "There is no queue at \(path), and the settings (createsQueue) do not create one.")
            }
            try await folders.restoreMissing(isNew: missing == nil)
        }
    }

    /// Creates what a queue of an older or a foreign client may lack. Never creates a queue.
    func prepareExisting() async throws {
        guard try await store.exists(tree.items) != nil else { throw QueueError.missingQueue(at: path) }
        try await prepare()
    }

    // MARK: Its parts

    var reader: NodeReader { NodeReader(store: store, tree: tree, skipped: skipped) }
    var writer: BulkWriter { BulkWriter(store: store, skipped: skipped) }
    var folders: QueueFolders { QueueFolders(store: store, tree: tree, reader: reader, logger: logger) }
    var usage: QueueUsage { QueueUsage(store: store, tree: tree, reader: reader) }
    var attributes: QueueAttributeStore {
        QueueAttributeStore(store: store, tree: tree, reader: reader, usage: usage)
    }
    var inspector: QueueInspector { QueueInspector(queue: self) }
    var deadLetterQueue: DeadLetterQueue { DeadLetterQueue(queue: self) }
}
