import ZooKeeper

/// A message in its stored form.
struct EncodedMessage: Sendable {
    let priority: Int
    /// The data of the message's node, if the node holds no other message.
    let data: [UInt8]
    /// The bytes that the create of such a node adds to a multi.
    let size: Int
    /// The name of the node that marks the message's ID as stored.
    let id: String?
    let delivery: Delivery
    /// When the message expires, if that depends on the ensemble's clock. The data has a place for the time.
    var expiry: Delivery?
    var group: GroupKey?
    /// Whether only the ensemble's clock tells if the message would expire before it is delivered.
    var needsComparison = false
    /// Whether the producer must know the ensemble's clock to send the message.
    var needsClock: Bool { delivery != .now || expiry != nil }
}

/// Validates messages and encodes them, before anything is sent.
struct MessageEncoder: Sendable {
    private let tree: QueueTree
    private let store: any ZooKeeperStore
    /// The bytes that the create of a message node adds to a multi besides the message's own bytes.
    private let emptyNodeSize: Int
    /// The longest payload in bytes. Headers and an ID reduce it.
    let maximumPayloadSize: Int

    init(_ queue: MessageQueue) {
        (tree, store) = (queue.tree, queue.store)
        let path = tree.item(ItemName.prefix(priority: 0))
        emptyNodeSize = store.size(of: .create(path, data: [], mode: .persistentSequential))
        // A claim moves the message with a delete and a create whose path is longer than that of the first create.
        maximumPayloadSize = store.maximumRequestSize - 2 * emptyNodeSize - BatchTransaction.overhead - 256
    }

    func encode(_ message: OutgoingMessage) throws -> EncodedMessage {
        guard ItemName.priorities.contains(message.priority) else {
            throw QueueError(
                .invalidArgument, "The priority must be from 0 to 999, not \(message.priority).")
        }
        let delivery = try delivery(of: message)
        if let name = message.headers.keys.first(where: { $0.utf8.count > Envelope.maximumHeaderName }) {
            throw QueueError(
                .invalidArgument,
                "A header name has \(name.utf8.count) bytes, but the limit is \(Envelope.maximumHeaderName). Shorten "
                    + "it.")
        }
        let expiry = try expiry(of: message)
        let group = try group(of: message)
        var envelope = Envelope(headers: message.headers, payload: message.payload, id: message.id)
        envelope.expiresAt = message.expiresAt ?? expiry.map { _ in EnsembleTime(millisecondsSince1970: 0) }
        envelope.group = message.group
        let data = envelope.encoded()
        let id = try nodeName(of: message.id)
        let sizeOfID = size(ofID: id)
        guard group == nil || data.count <= maximumGroupedSize else {
            throw QueueError(
                .payloadTooLarge,
                "The message has \(data.count) bytes with its headers, its ID and its group, but the limit for "
                    + "messages of a group is \(maximumGroupedSize). Store large payloads elsewhere and send a "
                    + "reference, or raise the client's maximumRequestSize.")
        }
        guard data.count + sizeOfID <= maximumPayloadSize else {
            throw QueueError(
                .payloadTooLarge,
                "The message has \(data.count + sizeOfID) bytes with its headers and its ID, but the limit is "
                    + "\(maximumPayloadSize). Store large payloads elsewhere and send a reference, or raise the "
                    + "client's maximumRequestSize.")
        }
        var size = emptyNodeSize + (delivery == .now ? 0 : Self.extraPathOfDelayed) + data.count + sizeOfID
        // The operation on the group's node, and the longer path of a follower.
        if let group { size += 2 * store.size(of: .create(tree.group(group), data: [])) }
        return EncodedMessage(
            priority: message.priority, data: data, size: size, id: id, delivery: delivery, expiry: expiry,
            group: group,
            needsComparison: message.expiresAt != nil && message.delay > .zero
                || message.expiresAfter != nil && message.deliverAt != nil)
    }

    /// How much longer the path of a delayed message is than that of a ready one, in bytes, at most.
    private static let extraPathOfDelayed = 64

    private func delivery(of message: OutgoingMessage) throws -> Delivery {
        try Delivery.validate(message.delay)
        guard let time = message.deliverAt else {
            return message.delay > .zero ? .after(message.delay, since: store.now) : .now
        }
        guard message.delay == .zero else {
            throw QueueError(.invalidArgument, "A message can have a delay or a time to deliver it, not both.")
        }
        // The ensemble's clock is not known yet. For a limit like this, the machine's is good enough.
        guard time <= EnsembleTime.ofThisMachine.advanced(by: Delivery.longestDelay) else {
            throw QueueError(.invalidArgument, "The time to deliver a message must be at most ten years ahead.")
        }
        return .at(time)
    }

    /// Returns when the message expires, if that depends on the ensemble's clock.
    private func expiry(of message: OutgoingMessage) throws -> Delivery? {
        if let time = message.expiresAt {
            guard message.expiresAfter == nil else {
                throw QueueError(.invalidArgument, "A message can expire after a time or at a time, not both.")
            }
            if let start = message.deliverAt, time <= start { throw Self.expiresTooEarly }
            return nil
        }
        guard let lifetime = message.expiresAfter else { return nil }
        guard lifetime > .zero, lifetime <= Delivery.longestDelay * 2 else {
            throw QueueError(
                .invalidArgument,
                "The time after which a message expires must be more than zero and at most twenty years, not "
                    + "\(lifetime).")
        }
        if lifetime <= message.delay { throw Self.expiresTooEarly }
        return .after(lifetime, since: store.now)
    }

    /// One transaction can move two messages of a group: the head to the dead letters, and the next one to the ready
    /// messages.
    var maximumGroupedSize: Int { maximumPayloadSize / 2 - 4_096 }

    private func group(of message: OutgoingMessage) throws -> GroupKey? {
        guard let group = message.group else { return nil }
        guard let key = GroupKey(group) else {
            throw QueueError(
                .invalidArgument,
                "The key of a group must have 1 to \(GroupKey.maximumLength) bytes of UTF-8, not \(group.utf8.count).")
        }
        guard message.delay == .zero, message.deliverAt == nil else {
            throw QueueError(
                .invalidArgument,
                "A message of a group cannot be delayed, because the group delivers its messages in the order in "
                    + "which they were sent. Send it later, or without a group.")
        }
        return key
    }

    static let expiresTooEarly = QueueError(
        .invalidArgument, "The message would expire before it is delivered. Let it expire later.")

    private func nodeName(of id: String?) throws -> String? {
        guard let id else { return nil }
        guard (1...DeduplicationBuckets.maximumLength).contains(id.utf8.count) else {
            throw QueueError(
                .invalidArgument,
                "A message ID must have 1 to \(DeduplicationBuckets.maximumLength) bytes of UTF-8, not "
                    + "\(id.utf8.count).")
        }
        return DeduplicationBuckets.nodeName(of: id)
    }

    /// Returns the bytes that an ID adds to a multi, assuming the longest bucket number.
    private func size(ofID name: String?) -> Int {
        guard let name else { return 0 }
        let path = tree.id(name, inBucket: .max)
        return 2 * store.size(of: .create(path, data: [])) + store.size(of: .delete(path))
    }
}

extension ProducerSequence.Entry {
    init(send: UnresolvedSend, index: Int, _ message: EncodedMessage) {
        self.init(
            send: send, index: index, priority: message.priority, data: message.data, size: message.size,
            id: message.id,
            delivery: message.delivery, expiry: message.expiry, group: message.group)
    }
}
