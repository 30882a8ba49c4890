import ZooKeeper

/// Reads and changes the attributes in the tree, which every member must agree on.
struct QueueAttributeStore: Sendable {
    let store: any ZooKeeperStore
    let tree: QueueTree
    let reader: NodeReader
    let usage: QueueUsage

    /// Returns the attributes in the tree.
    func read() async throws -> QueueAttributes {
        do {
            return QueueAttributes(try await store.get(tree.settings).data)
        } catch let error as ZooKeeperError where error.code == .noNode {
            return QueueAttributes()
        }
    }

    /// Stores the attributes of a new queue. This must precede the creation of the last folder, which marks the queue
    /// as complete: until then, no other client uses the queue.
    func create(_ attributes: QueueAttributes) async throws {
        if attributes == QueueAttributes() { return }
        if attributes.capacity.bytes != nil { try await usage.trackBytes() }
        try await store.createIfMissing(tree.settings, data: attributes.encoded())
    }

    /// Changes the attributes in the tree, for every member.
    func change(_ change: (inout QueueAttributes) throws -> Void) async throws -> QueueAttributes {
        try await store.createIfMissing(tree.settings)
        var unanswered: (version: Int32, data: [UInt8], error: ZooKeeperError)?
        while true {
            let node = try await store.get(tree.settings)
            let old = QueueAttributes(node.data)
            if let unanswered, node.stat.version != unanswered.version {
                // With another version, a third client has changed the attributes after the lost reply. Then nothing
                // tells whether this change was applied in between.
                guard node.stat.version == unanswered.version + 1, node.data == unanswered.data else {
                    throw unanswered.error
                }
                return old
            }
            var new = old
            try change(&new)
            // A caller that assigns other attributes does not know these lines either.
            new.keepUnknown(of: old)
            try new.validate()
            if let bytes = new.capacity.bytes, bytes != old.capacity.bytes { try await usage.trackBytes() }
            let epoch = try await reader.sequenceEpoch()
            let data = new.encoded()
            do {
                // Every running producer checks the version of `epoch`. When the version has changed, the
                // producer reads the attributes again.
                _ = try await store.multi([
                    .set(tree.settings, data: data, version: node.stat.version),
                    epoch.change(to: epoch.phase, in: tree),
                ])
                return new
            } catch let error as ZooKeeperError where error.code == .badVersion {
                // Another client was faster, or an earlier request of this one was applied after all.
            } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                unanswered = (node.stat.version, data, error)
            }
        }
    }
}
