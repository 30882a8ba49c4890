import ZooKeeper

/// Reads the nodes of message groups.
struct GroupReader: Sendable {
    let queue: MessageQueue

    private var tree: QueueTree { queue.tree }

    /// How often to list a group again when all listed followers have moved before they could be read.
    private static let attempts = 10

    /// Returns the states of groups. Creates the folder of all groups when it is missing.
    func states(of keys: some Collection<GroupKey>) async throws -> [GroupKey: GroupState] {
        if keys.isEmpty { return [:] }
        let readings = try await queue.reader.read([tree.groups] + keys.map(tree.group))
        if readings[0].isMissing { try await queue.folders.createLikeItems(tree.groups) }
        return zip(keys, readings.dropFirst()).reduce(into: [:]) { states, reading in
            if case .refused = reading.1 {
                states[reading.0] = .unreadable
            } else {
                states[reading.0] = GroupState(reading.1.node)
            }
        }
    }

    /// Returns the destination of a redriven dead letter.
    ///
    /// A head that blocks its group keeps its place. Otherwise the group has gone on, and the message becomes its last
    /// one.
    ///
    /// - Parameters:
    ///   - name: the name of the dead letter.
    ///   - item: the name of a message that is ready at once.
    /// - Returns: the operations on the group, none for a message without a group, and the path of the message, which
    ///   ends with a dash if the server numbers it.
    func rejoining(
        _ name: String, _ data: [UInt8]?, as item: ItemName, in epoch: SequenceEpoch
    ) async throws -> (operations: [ZooKeeperOperation], path: String) {
        let ready = epoch.path(of: item, in: tree)
        guard let key = data.flatMap(Envelope.group(in:)) else { return ([], ready) }
        try await requireTransactions()
        let path = tree.group(key)
        let state = try await states(of: [key])[key] ?? .missing
        if case .blocked(by: name, let version) = state { return ([.set(path, data: [], version: version)], ready) }
        return (
            state.guarding(path),
            state.hasHead ? "\(path)/\(ItemName.prefix(priority: item.priority))" : ready
        )
    }

    /// Returns the dead letters that block their groups.
    func blockingDeadLetters(among names: [String]) async throws -> [String: GroupKey] {
        guard try await queue.reader.childCount(tree.groups) > 0 else { return [:] }
        var blocking: [String: GroupKey] = [:]
        for start in stride(from: 0, to: names.count, by: MessageMover.batchSize) {
            let batch = names.dropFirst(start).prefix(MessageMover.batchSize)
            let keys = zip(batch, try await queue.reader.readUsable(batch.map(tree.dead))).compactMap { name, node in
                (node?.data).flatMap(Envelope.group(in:)).map { (name, $0) }
            }
            let states = try await states(of: Set(keys.map(\.1)))
            for (name, key) in keys {
                if case .blocked(by: name, _)? = states[key] { blocking[name] = key }
            }
        }
        return blocking
    }

    /// Reads the followers of the heads among nodes, where their names can be predicted: many at a time, which takes
    /// less work than one at a time when the heads are settled.
    func followers(of nodes: [Node?], named names: [ItemName]) async throws -> [ItemName: GroupSuccession.Successor] {
        let expected = zip(names, nodes).compactMap { name, node -> (head: ItemName, next: ItemName, path: String)? in
            guard let data = node?.data, data.starts(with: Envelope.magic),
                case .message(let head) = Envelope.read(data),
                let key = head.group.flatMap({ GroupKey($0) }), let next = head.groupNumber.flatMap(name.next(after:))
            else { return nil }
            return (name, next, "\(tree.group(key))/\(next.untagged)")
        }
        if expected.isEmpty { return [:] }
        let found = try await queue.reader.readUsable(expected.map(\.path))
        return zip(expected, found).reduce(into: [:]) { followers, pair in
            if let node = pair.1, case .message = Envelope.read(node.data ?? []) {
                followers[pair.0.head] = .follower(name: pair.0.next, node)
            }
        }
    }

    /// Returns what follows the head of a group.
    ///
    /// - Parameters:
    ///   - successor: the follower, if it was read before.
    ///   - next: the name that the follower most likely has.
    ///   - deadLetter: the name of the head, if it is a dead letter; `nil` otherwise.
    /// - Returns: `nil` when the head is a dead letter that does not block the group, which goes on without it.
    func succession(
        of key: GroupKey, knowing successor: GroupSuccession.Successor? = nil, expecting next: ItemName? = nil,
        deadLetter: String? = nil
    ) async throws -> GroupSuccession? {
        try await requireTransactions()
        let path = tree.group(key)
        var blockedVersion: Int32?
        if let deadLetter {
            guard case .blocked(by: deadLetter, let version) = GroupState(try await queue.reader.node(path)) else {
                return nil
            }
            blockedVersion = version
        }
        var successor = successor
        if successor == nil, let next { successor = try await self.successor(next, in: path) }
        if successor == nil { successor = try await listedSuccessor(at: path, isBlocked: blockedVersion != nil) }
        return successor.map { GroupSuccession(key: key, tree: tree, successor: $0, blockedVersion: blockedVersion) }
    }

    /// Returns the follower with this name; `nil` when it does not exist or cannot be used.
    private func successor(_ name: ItemName, in folder: String) async throws -> GroupSuccession.Successor? {
        let path = "\(folder)/\(name.untagged)"
        guard !queue.skipped.contains(path), let node = try await queue.reader.usableNode(path) else { return nil }
        guard case .message = Envelope.read(node.data ?? []) else {
            queue.skipped.skip(path, .unknownContent)
            return nil
        }
        return .follower(name: name, node)
    }

    private func listedSuccessor(at path: String, isBlocked: Bool) async throws -> GroupSuccession.Successor {
        for _ in 0..<Self.attempts {
            let children: NodeChildren
            do {
                children = try await queue.store.children(of: path)
            } catch let error as ZooKeeperError where error.code == .noNode {
                return .missing
            }
            if children.names.isEmpty { return .none }
            for name in Self.followers(children.names) {
                if let successor = try await successor(name, in: path) { return successor }
            }
            // The node names the dead letter.
            if isBlocked { return .unusable(version: children.stat.version) }
            // From now on, each new follower raises the node's version, because this client must notice it before it
            // marks the group idle.
            if case .counted(let version) = GroupState(try await queue.reader.node(path)) {
                if version == children.stat.version { return .unusable(version: version) }
            } else {
                try await countFollowers(of: path, at: children.stat.version)
            }
        }
        throw QueueError(.timedOut, "The messages of a group moved at each attempt to read them. Try again.")
    }

    private func countFollowers(of path: String, at version: Int32) async throws {
        do {
            _ = try await queue.store.set(path, data: GroupState.dataWhenCounted, version: version)
        } catch let error as ZooKeeperError where error.code == .badVersion || error.code == .noNode {
            // The group has changed, and is read again.
        }
    }

    /// Returns the names of messages, in the order in which they were stored.
    static func followers(_ names: [String]) -> [ItemName] {
        names.compactMap { ItemName($0, inEpoch: 0) }.filter { $0.index == nil && $0.redeliveries == 0 }
            .sorted { $0.sequence < $1.sequence }
    }

    /// Throws for a store that applies the operations of a transaction one by one.
    private func requireTransactions() async throws {
        guard try await queue.store.capabilities.contains(.transactions) else {
            throw QueueError.storeHasNoTransactions
        }
    }
}
