public import CoreMetrics
public import Logging
public import Tracing
public import ZooKeeper

/// A queue in ZooKeeper, named by its path.
///
/// It is cheap to create. Its only state is the set of nodes that this process skips
/// (``skippedNodes()``), which all copies share.
///
/// ```swift
/// let queue = try MessageQueue(zookeeper, path: "/queue")
/// try await queue.createIfNeeded(.init(maximumDeliveries: 5))
/// try await QueueProducer(queue).send("hello")
/// try await queue.withConsumer { messages in
///     for try await message in messages {
///         try await handle(message.payload)
///         try await message.acknowledge()
///     }
/// }
/// ```
///
/// **The guarantee.** When `send` returns, the message is stored on a majority of the ensemble, exactly once. The
/// message is delivered until a consumer acknowledges it or it moves to the dead letters. At most one consumer holds a
/// message's lease at any moment. A single consumer receives the messages of a priority in the order in which the
/// ensemble stored them, and a requeued message keeps its position.
public struct MessageQueue: Sendable {
    /// The path of the queue's root, below the client's chroot.
    public let path: String
    /// Whether producers, consumers and recoveries create the queue when it is missing.
    public let createIfMissing: Bool
    /// The attributes with which members create the queue.
    private(set) var initialAttributes = QueueAttributes()
    package let store: any ZooKeeperStore
    let tree: QueueTree
    package let logger: Logger
    let skipped: SkippedNodeRegistry
    let metrics: QueueMetrics
    let tracing: QueueTracing?
    package let metricsFactory: any MetricsFactory

    /// Creates a queue value. Sends nothing to the ensemble.
    ///
    /// - Parameters:
    ///   - client: a client of the ensemble.
    ///   - path: the root node of the queue. Each queue needs its own root.
    ///   - createIfMissing: whether producers, consumers and recoveries create the queue when it is missing, with
    ///     default attributes. To choose the attributes, call ``createIfNeeded(_:)`` before. Default: `true`.
    ///   - logger: receives the log messages of this queue's producers, consumers and recoveries.
    ///     They never contain a payload.
    ///   - metricsFactory: creates the metrics of the queue, which <doc:Operating> lists. Default: the factory of the
    ///     `MetricsSystem`, which the program must bootstrap before.
    ///   - tracer: records a span for each send and each handler, and puts their context into the messages' headers.
    ///     Default: the tracer of the `InstrumentationSystem`, which the program must bootstrap before.
    /// - Throws: ``QueueError`` with ``QueueError/Code/invalidArgument`` when the path is invalid.
    public init(
        _ client: ZooKeeperClient, path: String = "/queue", createIfMissing: Bool = true,
        logger: Logger = Logger(label: "zookeeper.queue"), metricsFactory: any MetricsFactory = MetricsSystem.factory,
        tracer: any Tracer = InstrumentationSystem.tracer
    ) throws {
        try self.init(
            store: client, path: path, createIfMissing: createIfMissing, logger: logger,
            metricsFactory: metricsFactory, tracer: tracer)
    }

    /// Creates a queue value on another kind of store, such as ZooKeeper over REST or an in-memory tree.
    ///
    /// - Throws: the same errors as ``init(_:path:createIfMissing:logger:metricsFactory:tracer:)``.
    public init(
        store: any ZooKeeperStore, path: String = "/queue", createIfMissing: Bool = true,
        logger: Logger = Logger(label: "zookeeper.queue"), metricsFactory: any MetricsFactory = MetricsSystem.factory,
        tracer: any Tracer = InstrumentationSystem.tracer
    ) throws {
        do {
            try NodePath.validate(path)
        } catch let error as ZooKeeperError {
            throw QueueError(.invalidArgument, "The queue's path is not valid. \(error.message)", cause: error)
        }
        guard path != "/" else {
            throw QueueError(.invalidArgument, "The root cannot be a queue. Use a path such as /queue.")
        }
        self.store = store
        self.path = path
        self.createIfMissing = createIfMissing
        self.tree = QueueTree(root: path)
        self.logger = logger
        skipped = SkippedNodeRegistry(queue: path, store: store, logger: logger, metricsFactory: metricsFactory)
        metrics = QueueMetrics(queue: path, factory: metricsFactory)
        tracing = QueueTracing(queue: path, tracer: tracer)
        self.metricsFactory = metricsFactory
    }

    /// Returns the same queue with other attributes for members that create it.
    package func creating(with attributes: QueueAttributes) -> MessageQueue {
        var queue = self
        queue.initialAttributes = attributes
        return queue
    }

    // MARK: Creating

    /// Creates the queue when there is none at its path. An existing queue keeps its attributes: change them with
    /// ``update(_:)``.
    ///
    /// Several processes may call it at the same time. One of them decides the attributes.
    ///
    /// - Parameter attributes: the settings that all members of the queue share.
    /// - Throws: ``QueueError`` with ``QueueError/Code/invalidArgument`` before anything is sent,
    ///   ``QueueError/Code/permissionDenied`` or ``QueueError/Code/timedOut``.
    public func createIfNeeded(_ attributes: QueueAttributes = .init()) async throws {
        try attributes.validate()
        try await prepare(creatingWith: attributes)
    }

    /// Creates the nodes of the queue that are missing. Members call it before they begin.
    ///
    /// - Throws: ``QueueError``; ``QueueError/Code/queueNotFound`` when there is no queue and ``createIfMissing`` is
    ///   `false`.
    package func prepare() async throws {
        try await prepare(creatingWith: createIfMissing ? initialAttributes : nil)
    }

    private func prepare(creatingWith newAttributes: QueueAttributes?) async throws {
        try await QueueError.translating(while: "creating the queue's nodes", queue: path) {
            let missing = try await folders.missing()
            if let missing, missing.isEmpty { return }
            if let newAttributes, missing?.contains(tree.epoch) ?? true {
                if missing == nil { try await store.createRoot() }
                try await folders.createRootAndAncestors()
                try await attributeStore.create(newAttributes)
            } else if missing == nil {
                throw QueueError.missingQueue(at: path)
            }
            try await folders.restoreMissing(isNew: missing == nil)
        }
    }

    /// Creates the nodes that a queue of an older or foreign client may lack. Never creates a queue.
    func prepareExisting() async throws {
        guard try await store.exists(tree.items) != nil else { throw QueueError.missingQueue(at: path) }
        try await prepare()
    }

    /// Checks a message as a send does, and sends nothing.
    ///
    /// - Throws: ``QueueError``.
    package func validate(_ message: OutgoingMessage) throws { _ = try MessageEncoder(self).encode(message) }

    // MARK: Components

    var reader: NodeReader { NodeReader(store: store, tree: tree, skipped: skipped) }
    var writer: BulkWriter { BulkWriter(store: store, skipped: skipped) }
    var folders: QueueFolders { QueueFolders(store: store, tree: tree, reader: reader, logger: logger) }
    var usage: QueueUsage { QueueUsage(store: store, tree: tree, reader: reader) }
    var attributeStore: QueueAttributeStore {
        QueueAttributeStore(store: store, tree: tree, reader: reader, usage: usage)
    }
    var groups: GroupReader { GroupReader(queue: self) }
    var inspector: QueueInspector { QueueInspector(queue: self) }
    var deadLetterQueue: DeadLetterQueue { DeadLetterQueue(queue: self) }
}
