import Glibc
import ZooKeeper

/// Reads the state of a queue without changing its messages.
struct QueueInspector: Sendable {
    let queue: MessageQueue

    private var store: any ZooKeeperStore { queue.store }
    private var tree: QueueTree { queue.tree }
    private var reader: NodeReader { queue.reader }

    // MARK: Counts

    func statistics() async throws -> QueueStatistics {
        try await QueueError.translating(while: "counting", queue: queue.path) {
            guard let items = try await store.exists(tree.items) else { throw QueueError.missingQueue(at: queue.path) }
            var statistics = QueueStatistics(
                ready: Int(items.numChildren) + (try await reader.childCount(tree.earlier)), leased: 0,
                partial: try await reader.childCount(tree.partial),
                dead: try await reader.childCount(tree.dead), consumers: 0, created: items.childrenCreated,
                bytes: try await store.bytes(below: queue.path), skipped: queue.skipped.count)
            let consumers = try await reader.names(tree.consumers)
            statistics.consumers = consumers.count
            for name in consumers {
                guard let stat = try await reader.usableStat(tree.consumer(name).item) else { continue }
                // The legacy Python client keeps its one message as the data of this node.
                statistics.leased += Int(stat.numChildren) + (stat.dataLength > 0 ? 1 : 0)
            }
            return statistics
        }
    }

    func counters() async throws -> [QueueCounter] {
        try await QueueError.translating(while: "reading the counters", queue: queue.path) {
            func created(_ path: String) async throws -> Int { try await store.exists(path)?.childrenCreated ?? 0 }
            func largestVersion(_ paths: [String]) async throws -> Int {
                try await reader.read(paths).reduce(0) { max($0, Int($1.node?.stat.version ?? 0)) }
            }
            guard let items = try await store.exists(tree.items) else { throw QueueError.missingQueue(at: queue.path) }
            let consumers = try await reader.names(tree.consumers)
            return [
                QueueCounter(
                    kind: .messages, value: items.childrenCreated, end: queue.settings.sequenceRolloverThreshold),
                QueueCounter(kind: .consumers, value: try await created(tree.consumers), end: Int(Int32.max)),
                QueueCounter(
                    kind: .batches,
                    value: try await largestVersion(try await reader.names(tree.producers).map(tree.lane)),
                    end: Int(ProducerLimits.batchesOfANode)),
                QueueCounter(
                    kind: .steps, value: try await largestVersion(consumers.map { tree.consumer($0).path }),
                    end: Int(ConsumerConfiguration().stepsOfARegistration)),
                QueueCounter(
                    kind: .transactions, value: Int(try await store.probe(below: tree.root).mzxid & 0xFFFF_FFFF),
                    end: Int(UInt32.max)),
            ]
        }
    }

    // MARK: Ready messages

    func oldestMessageAge() async throws -> Duration? {
        try await QueueError.translating(while: "looking for the oldest message", queue: queue.path) {
            let entries = try await reader.readyEntries().entries.sorted {
                ($0.name.epoch, $0.name.sequence) < ($1.name.epoch, $1.name.sequence)
            }
            for entry in entries {
                guard let stat = try await reader.usableStat(entry.path(in: tree)) else { continue }
                return .milliseconds(max(0, Self.milliseconds() - stat.ctime))
            }
            return nil
        }
    }

    func browse(limit: Int) async throws -> [BrowsedMessage] {
        try await QueueError.translating(while: "browsing", queue: queue.path) {
            var messages: [BrowsedMessage] = []
            for entry in try await reader.readyEntries().entries.sorted() {
                if messages.count >= limit { break }
                guard let node = try await reader.usableNode(entry.path(in: tree)) else { continue }
                let isUnfilled = (node.data ?? []).isEmpty && node.stat.version == 0
                guard !isUnfilled, let readable = MessageNode(entry, node: node) else { continue }
                messages += readable.messages.prefix(limit - messages.count).map { message in
                    BrowsedMessage(
                        name: message.name.string, priority: entry.name.priority, deliveryCount: entry.name.returns + 1,
                        payload: message.envelope.payload, headers: message.envelope.headers,
                        id: message.envelope.id, enqueueTime: node.stat.ctime)
                }
            }
            return messages
        }
    }

    private static func milliseconds() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
    }
}
