import ZooKeeper

/// Reads the state of a queue without changing its messages.
struct QueueInspector: Sendable {
    let queue: MessageQueue

    private var store: any ZooKeeperStore { queue.store }
    private var tree: QueueTree { queue.tree }
    private var reader: NodeReader { queue.reader }

    // MARK: Counts

    func statistics() async throws -> QueueStatistics {
        try await QueueError.translating(while: "counting messages", queue: queue.path) {
            guard let items = try await store.exists(tree.items) else { throw QueueError.missingQueue(at: queue.path) }
            var statistics = QueueStatistics(
                ready: Int(items.numChildren) + (try await reader.childCount(tree.earlier)), leased: 0,
                recovering: try await reader.childCount(tree.partial),
                deadLettered: try await reader.childCount(tree.dead), consumers: 0,
                totalEnqueued: items.childrenCreated,
                bytes: try await store.byteUsage(of: queue.path), skipped: queue.skipped.count)
            let consumers = try await reader.names(tree.consumers)
            statistics.consumers = consumers.count
            for name in consumers {
                guard let stat = try await reader.usableStat(tree.consumer(name).item) else { continue }
                // The legacy Python client keeps its one message as the data of this node.
                statistics.leased += Int(stat.numChildren) + (stat.dataLength > 0 ? 1 : 0)
            }
            (statistics.delayed, statistics.retrying, statistics.nextDueAt) = try await queue.delayedQueue.count()
            statistics.groups = try await reader.childCount(tree.groups)
            // A client that may not read the settings still sees the counts.
            statistics.paused = QueueAttributes(try await reader.usableNode(tree.settings)?.data).paused
            return statistics
        }
    }

    func sequenceUsage() async throws -> [SequenceUsage] {
        try await QueueError.translating(while: "reading the sequence numbers", queue: queue.path) {
            func created(_ path: String) async throws -> Int { try await store.exists(path)?.childrenCreated ?? 0 }
            func largestVersion(_ paths: [String]) async throws -> Int {
                try await reader.read(paths).reduce(0) { max($0, Int($1.node?.stat.version ?? 0)) }
            }
            guard let items = try await store.exists(tree.items) else { throw QueueError.missingQueue(at: queue.path) }
            let consumers = try await reader.names(tree.consumers)
            let attributes = try await queue.attributeStore.read()
            return [
                SequenceUsage(
                    kind: .messages, value: items.childrenCreated, limit: attributes.sequenceRolloverThreshold),
                SequenceUsage(kind: .consumers, value: try await created(tree.consumers), limit: Int(Int32.max)),
                SequenceUsage(
                    kind: .batches,
                    value: try await largestVersion(try await reader.names(tree.producers).map(tree.producer)),
                    limit: Int(QueueProducer.Configuration.defaultBatchesOfANode)),
                SequenceUsage(
                    kind: .transactions, value: try await largestVersion(consumers.map { tree.consumer($0).path }),
                    limit: Int(QueueConsumer.Configuration().transactionsOfARegistration)),
                SequenceUsage(
                    kind: .zxids, value: Int(try await store.probe(below: tree.root).mzxid & 0xFFFF_FFFF),
                    limit: Int(UInt32.max)),
            ]
        }
    }

    // MARK: Consumers

    func consumers() async throws -> [ConsumerInfo] {
        try await QueueError.translating(while: "listing the consumers", queue: queue.path) {
            guard try await store.exists(tree.items) != nil else { throw QueueError.missingQueue(at: queue.path) }
            var consumers: [ConsumerInfo] = []
            for name in try await reader.names(tree.consumers).sorted() {
                let paths = tree.consumer(name)
                // A consumer without a lease folder has not completed its registration.
                guard let stat = try await reader.usableStat(paths.path),
                    let leases = try await reader.namesIfPresent(paths.item)
                else { continue }
                consumers.append(
                    ConsumerInfo(
                        name: name, isAlive: try await reader.usableStat(paths.active) != nil,
                        registeredAt: EnsembleTime(millisecondsSince1970: stat.ctime),
                        leases: try await self.leases(leases, of: paths)))
            }
            return consumers
        }
    }

    /// Returns the leases that still exist, the oldest first.
    private func leases(_ names: [String], of paths: ConsumerPaths) async throws -> [ConsumerInfo.Lease] {
        let leases = try await withThrowingTaskGroup(of: ConsumerInfo.Lease?.self) { group in
            for name in names {
                group.addTask {
                    try await self.reader.usableStat(paths.lease(name)).map {
                        .init(nodeName: name, claimedAt: EnsembleTime(millisecondsSince1970: $0.ctime))
                    }
                }
            }
            return try await group.reduce(into: []) { leases, lease in lease.map { leases.append($0) } }
        }
        return leases.sorted { ($0.claimedAt, $0.nodeName) < ($1.claimedAt, $1.nodeName) }
    }

    // MARK: Ready messages

    func oldestMessageAge(at now: EnsembleTime = .ofThisMachine) async throws -> Duration? {
        try await QueueError.translating(while: "finding the oldest message", queue: queue.path) {
            let entries = try await reader.readyEntries().entries.sorted {
                ($0.name.epoch, $0.name.sequence) < ($1.name.epoch, $1.name.sequence)
            }
            for entry in entries {
                guard let stat = try await reader.usableStat(entry.path(in: tree)) else { continue }
                return max(.zero, EnsembleTime(millisecondsSince1970: stat.ctime).duration(to: now))
            }
            return nil
        }
    }

    func peek(limit: Int) async throws -> [PeekedMessage] {
        try await QueueError.translating(while: "peeking at messages", queue: queue.path) {
            var messages: [PeekedMessage] = []
            for entry in try await reader.readyEntries().entries.sorted() {
                if messages.count >= limit { break }
                guard let node = try await reader.usableNode(entry.path(in: tree)) else { continue }
                let isUnfilled = (node.data ?? []).isEmpty && node.stat.version == 0
                guard !isUnfilled, let readable = MessageNode(entry, node: node) else { continue }
                messages += readable.messages.prefix(limit - messages.count).map { message in
                    PeekedMessage(
                        nodeName: message.name.string, priority: entry.name.priority,
                        deliveryCount: entry.name.redeliveries + 1,
                        payload: message.envelope.payload, headers: message.envelope.headers,
                        id: message.envelope.id, group: message.envelope.sentGroup, failures: message.envelope.failures,
                        expiresAt: message.envelope.expiresAt,
                        enqueuedAt: EnsembleTime(millisecondsSince1970: node.stat.ctime))
                }
            }
            return messages
        }
    }
}
