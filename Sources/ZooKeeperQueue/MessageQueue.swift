public import CoreMetrics
public import Logging
public import ZooKeeper

/// Names a queue in ZooKeeper by its path and its settings.
///
/// It is cheap to create. Its only state is the set of nodes that this process skips
/// (``skippedNodes()``), which all copies share.
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
/// **The guarantee.** When `send` returns, the message is stored on a majority of the ensemble, exactly once. The
/// message is delivered until a consumer acknowledges it or it moves to the dead letters. At most one consumer holds a
/// message's lease at any moment. Within a priority, messages are delivered in the order in which the ensemble stored
/// them, and a requeued message keeps its position.
public struct MessageQueue: Sendable {
    /// The path of the queue's root, below the client's chroot.
    public let path: String
    /// The queue's settings.
    public let settings: QueueSettings
    let store: any ZooKeeperStore
    let tree: QueueTree
    let logger: Logger
    let skipped: SkippedNodeRegistry

    /// Creates a queue value. Sends nothing to the ensemble.
    ///
    /// - Parameters:
    ///   - client: a client of the ensemble.
    ///   - path: the root node of the queue. Each queue needs its own root.
    ///   - settings: limits and times. Every process that uses the queue should use the same settings.
    ///   - logger: receives the log messages of this queue's producers, consumers and recoveries.
    ///     They never contain a payload.
    ///   - metricsFactory: creates the gauge `zookeeper_queue_skipped_nodes`, with the dimension `queue`: the number of
    ///     nodes that this process skips. Default: the factory of the `MetricsSystem`.
    /// - Throws: ``QueueError`` with ``QueueError/Code/invalidArgument`` when the path or a setting is invalid.
    public init(
        _ client: ZooKeeperClient, path: String = "/queue", settings: QueueSettings = .init(),
        logger: Logger = Logger(label: "zookeeper.queue"), metricsFactory: any MetricsFactory = MetricsSystem.factory
    ) throws {
        try self.init(
            store: client, path: path, settings: settings, logger: logger,
            metricsFactory: metricsFactory)
    }

    /// Creates a queue value on another kind of store, such as ZooKeeper over REST or an in-memory tree.
    ///
    /// - Throws: the same errors as ``init(_:path:settings:logger:metricsFactory:)``.
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

    /// Creates the nodes of the queue that are missing. Producers, consumers and recoveries call it themselves.
    ///
    /// - Throws: ``QueueError`` with ``QueueError/Code/queueMissing`` when there is no queue and the settings do not
    ///   allow creating one, ``QueueError/Code/notPermitted`` or ``QueueError/Code/unreachable``.
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

    /// Creates the nodes that a queue of an older or foreign client may lack. Never creates a queue.
    func prepareExisting() async throws {
        guard try await store.exists(tree.items) != nil else { throw QueueError.missingQueue(at: path) }
        try await prepare()
    }

    // MARK: Components

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
