import ZooKeeper

/// Reads and changes the settings in the tree, which every process must agree on.
struct QueueAttributeStore: Sendable {
    let store: any ZooKeeperStore
    let tree: QueueTree
    let reader: NodeReader
    let usage: QueueUsage

    /// Returns the settings in the tree.
    func read() async throws -> QueueAttributes {
        do {
            return QueueAttributes(try await store.get(tree.settings).data)
        } catch let error as ZooKeeperError where error.code == .noNode {
            return QueueAttributes()
        }
    }

    /// Stores the settings that differ from the defaults. This must precede the creation of the last folder, which
    /// marks the queue as complete: until then, no other client uses the queue.
    func create(from settings: QueueSettings) async throws {
        var shared = QueueAttributes()
        if settings.messagesPerNode > 1 { shared.messagesPerNode = settings.messagesPerNode }
        shared.bound = settings.bound
        let defaults = QueueSettings()
        if settings.deduplicationWindow != defaults.deduplicationWindow {
            shared.deduplicationWindow = settings.deduplicationWindow
        }
        if settings.maximumDeliveries != defaults.maximumDeliveries {
            shared.maximumDeliveries = settings.maximumDeliveries
        }
        if settings.redeliveryDelay != defaults.redeliveryDelay { shared.redeliveryDelay = settings.redeliveryDelay }
        if shared.bound.bytes != nil { try await usage.trackBytes() }
        if shared != QueueAttributes() { try await store.createIfMissing(tree.settings, data: shared.encoded()) }
    }

    /// Changes the settings in the tree, for every process.
    func change(_ change: (inout QueueAttributes) -> Void) async throws {
        try await store.createIfMissing(tree.settings)
        while true {
            let node = try await store.get(tree.settings)
            var shared = QueueAttributes(node.data)
            change(&shared)
            let epoch = try await reader.sequenceEpoch()
            do {
                // Every running producer checks the version of `epoch`. When the version has changed, the
                // producer reads the settings again.
                _ = try await store.multi([
                    .set(tree.settings, data: shared.encoded(), version: node.stat.version),
                    epoch.change(to: epoch.phase, in: tree),
                ])
                return
            } catch let error as ZooKeeperError
                where error.code == .badVersion || error.outcome == .unknown && error.code != .deadlineExceeded
            {
                // Another client was faster, or the answer was lost. Repeating the change is harmless.
            }
        }
    }
}
