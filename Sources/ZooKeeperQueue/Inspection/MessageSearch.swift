import ZooKeeper

/// Finds one message of a queue, wherever it is.
struct MessageSearch: Sendable {
    enum Key: Sendable {
        case name(ItemName)
        /// The name of a message that was sent with a delay, and is not ready yet.
        case delayedName(DelayedName)
        /// The name of a message that waits in its group: the name of the group's node, and the name below it.
        case waitingName(group: String, ItemName)
        case id(String)

        /// Whether a node with this name may hold the message.
        func mayBe(in node: ItemName) -> Bool {
            guard case .name(let name) = self else { return true }
            return node.epoch == name.epoch && node.priority == name.priority && node.sequence == name.sequence
                && (node.index == nil || node.index == name.index)
        }

        private static func isNodeName(_ text: Substring) -> Bool { !text.isEmpty && text != "." && text != ".." }

        /// Parses the name of a message.
        init(nodeName: String) throws {
            let parts = nodeName.split(separator: "/", omittingEmptySubsequences: false)
            if parts.count == 2, Self.isNodeName(parts[0]), let name = ItemName(String(parts[1])) {
                self = .waitingName(group: String(parts[0]), name)
            } else if let name = ItemName(nodeName) {
                self = .name(name)
            } else if let name = DelayedName(nodeName) {
                self = name.wasSent ? .delayedName(name) : .name(name.item)
            } else {
                throw QueueError(
                    .invalidArgument,
                    "This is not the name of a message. A name looks like item-100-0000000042: see the receipt of a send, "
                        + "or list the messages.")
            }
        }
    }

    enum Location: Sendable {
        case ready(ReadyList.Entry, SequenceEpoch)
        case delayed(DelayedName)
        /// With the name of the leased node.
        case leased(ConsumerPaths, String)
        case recovering
        case dead
        /// In its group, behind other messages.
        case waiting
    }

    /// A message, and the node that holds it.
    struct Found: Sendable {
        let location: Location
        let path: String
        let node: Node
        /// All messages of the node that are not settled.
        let messages: [MessageNode.Message]
        let message: MessageNode.Message
        /// The other messages of the node that are not settled.
        var others: [MessageNode.Message] { messages.filter { $0.name != message.name } }
    }

    let queue: MessageQueue

    private var tree: QueueTree { queue.tree }
    private var reader: NodeReader { queue.reader }

    /// How often to look: a message that moves meanwhile can be missed, or seen twice.
    private static let attempts = 3

    /// - Throws: ``QueueError/Code/invalidArgument`` when several messages have the name, which old clients can cause.
    func find(_ key: Key) async throws -> Found? {
        var found: [Found] = []
        for _ in 0..<Self.attempts {
            found = try await scan(key)
            // Of several messages with one ID, which is sent again after the deduplication window, the oldest one.
            if case .id = key, let oldest = found.min(by: { $0.message.name < $1.message.name }) { return oldest }
            if case .name(let name) = key, found.count > 1 {
                let exact = found.filter { $0.message.name == name }
                if !exact.isEmpty { found = exact }
            }
            if found.count == 1 { break }
        }
        guard found.count <= 1 else {
            throw QueueError(
                .invalidArgument,
                "Several messages have this name, which old clients can cause. Nothing was changed. Use an ID, or handle one "
                    + "of them first.")
        }
        return found.first
    }

    /// Whether an ID is remembered, so that a message was sent with it within the deduplication window.
    func remembers(_ id: String) async throws -> Bool {
        guard let node = try await reader.node(tree.ids) else { return false }
        let name = DeduplicationBuckets.nodeName(of: id)
        for bucket in try DeduplicationBuckets(node).numbers
        where try await queue.store.exists(tree.id(name, inBucket: bucket)) != nil {
            return true
        }
        return false
    }

    /// Looks at the places with few messages first. An ID belongs to one message.
    private func scan(_ key: Key) async throws -> [Found] {
        if case .delayedName = key { return try await matches(key, of: try await delayed(key)) }
        if case .waitingName = key { return try await matches(key, of: try await waiting(key)) }
        var found: [Found] = []
        for place in [leased, recovering, ready, delayed, dead, waiting] {
            found += try await matches(key, of: try await place(key))
            if case .id = key, !found.isEmpty { break }
        }
        return found
    }

    private func leased(_ key: Key) async throws -> [Candidate] {
        var candidates: [Candidate] = []
        for consumer in try await reader.usableNames(tree.consumers).sorted().map(tree.consumer) {
            guard let node = try await reader.usableNode(consumer.path) else { continue }
            let progress = BatchSettlements(node.data)
            candidates += try await reader.usableNames(ofFolder: consumer.item).compactMap { name in
                ItemName(name).map {
                    Candidate(name: $0, path: consumer.lease(name), .leased(consumer, name), progress)
                }
            }
        }
        return candidates
    }

    private func recovering(_ key: Key) async throws -> [Candidate] {
        try await candidates(in: tree.partial, .recovering)
    }

    private func dead(_ key: Key) async throws -> [Candidate] { try await candidates(in: tree.dead, .dead) }

    private func candidates(in folder: String, _ location: Location) async throws -> [Candidate] {
        try await reader.usableNames(folder).compactMap { name in
            ItemName(name).map { Candidate(name: $0, path: "\(folder)/\(name)", location) }
        }
    }

    private func ready(_ key: Key) async throws -> [Candidate] {
        let (entries, epoch) = try await reader.readyEntries()
        return entries.filter { key.mayBe(in: $0.name) }
            .map { Candidate(name: $0.name, path: $0.path(in: tree), .ready($0, epoch)) }
    }

    private func delayed(_ key: Key) async throws -> [Candidate] {
        let names: [DelayedName] =
            if case .delayedName(let name) = key { [name] } else { try await queue.folders.delayedNames() }
        return names.map { name in
            let path = "\(tree.delaySlot(DelaySlot(name.due)))/\(name.string)"
            return Candidate(name: name.item, path: path, .delayed(name))
        }
    }

    private func waiting(_ key: Key) async throws -> [Candidate] {
        switch key {
        case .waitingName(let group, let name):
            return [Candidate(name: name, path: "\(tree.groups)/\(group)/\(name.untagged)", .waiting)]
        case .name, .delayedName: return []
        case .id:
            var candidates: [Candidate] = []
            for group in try await reader.usableNames(ofFolder: tree.groups) {
                candidates += try await self.candidates(in: "\(tree.groups)/\(group)", .waiting)
            }
            return candidates
        }
    }

    // MARK: Reading

    /// A node that may hold the message.
    private struct Candidate: Sendable {
        let name: ItemName
        let path: String
        let location: Location
        /// Which messages of the node are settled, if it is leased.
        let progress: BatchSettlements

        init(name: ItemName, path: String, _ location: Location, _ progress: BatchSettlements = .init()) {
            (self.name, self.path, self.location, self.progress) = (name, path, location, progress)
        }
    }

    /// Reads the candidates, and returns those that hold the message.
    private func matches(_ key: Key, of candidates: [Candidate]) async throws -> [Found] {
        let candidates = candidates.filter { candidate in
            // The numbers of a slot are other ones than those of the queue.
            if case .name = key, case .delayed(let name) = candidate.location, name.wasSent { return false }
            return key.mayBe(in: candidate.name)
        }
        var found: [Found] = []
        for start in stride(from: 0, to: candidates.count, by: MessageMover.batchSize) {
            try Task.checkCancellation()
            let batch = candidates.dropFirst(start).prefix(MessageMover.batchSize)
            found += zip(batch, try await reader.readUsable(batch.map(\.path))).compactMap { candidate, node in
                node.flatMap { self.found(key, candidate, $0) }
            }
            if case .id = key, !found.isEmpty { break }
        }
        return found
    }

    private func found(_ key: Key, _ candidate: Candidate, _ node: Node) -> Found? {
        guard var messages = MessageNode.messages(in: node.data ?? [], of: candidate.name) else { return nil }
        if case .leased(_, let name) = candidate.location {
            messages.removeAll { message in message.index.map { candidate.progress.isSettled($0, of: name) } ?? false }
        }
        let message = messages.first { message in
            switch key {
            case .name(let name): message.name.isSameMessage(as: name)
            case .delayedName, .waitingName: true
            case .id(let id): message.envelope.id == id
            }
        }
        return message.map {
            Found(location: candidate.location, path: candidate.path, node: node, messages: messages, message: $0)
        }
    }

    // MARK: Results

    func status(of found: Found) async throws -> MessageStatus {
        let created = EnsembleTime(millisecondsSince1970: found.node.stat.ctime)
        var name = found.message.name.string
        let place: MessageStatus.Place
        switch found.location {
        case .ready: place = .ready
        case .delayed(let delayed):
            place = .delayed(until: delayed.due)
            name = delayed.string
        case .leased(let consumer, _):
            place = .leased(by: NodePath.name(of: consumer.path), since: created)
        case .recovering: place = .recovering
        case .waiting:
            place = .waiting
            name = found.path.split(separator: "/").suffix(2).joined(separator: "/")
        case .dead:
            let cause = try await reader.read([found.path + "/cause"])[0].node?.data ?? []
            place = .deadLettered(reason: String(decoding: cause, as: UTF8.self), at: created)
        }
        let (item, envelope) = (found.message.name, found.message.envelope)
        return MessageStatus(
            nodeName: name, place: place, priority: item.priority, redeliveries: item.redeliveries,
            payload: envelope.payload, headers: envelope.headers, id: envelope.id, group: envelope.sentGroup,
            failures: envelope.failures, expiresAt: envelope.expiresAt)
    }
}

extension ItemName {
    /// Whether both are names of one message, however often it was delivered.
    func isSameMessage(as other: ItemName) -> Bool { with(redeliveries: 0) == other.with(redeliveries: 0) }
}
