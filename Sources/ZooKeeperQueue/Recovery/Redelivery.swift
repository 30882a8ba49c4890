import ZooKeeper

/// Moves the messages in `partial` back to their old positions, with their delivery count raised, or to the dead
/// letters when they have reached their maximum deliveries.
///
/// A message's folder depends on the epoch of the sequence numbers, so each transaction that requeues messages
/// checks the epoch. Each transaction deletes a message at the version that was read. When two recoveries act at
/// once, only one of them moves it.
struct Redelivery: RecoveryDuty {
    let queue: MessageQueue
    let mover: MessageMover
    let ages: NodeAges
    private(set) var report = RecoveryReport()

    private var tree: QueueTree { queue.tree }

    mutating func run() async throws {
        let names = try await queue.reader.usableNames(tree.partial).sorted()
        if names.isEmpty { return }
        let epoch = try await queue.reader.sequenceEpoch()
        let attributes = try await queue.attributeStore.read()
        var rest = names[...]
        while !rest.isEmpty {
            try Task.checkCancellation()
            let batch = Array(rest.prefix(MessageMover.batchSize))
            let moves = try await mover.moves(batch, from: tree.partial) { name, node in
                guard ages.isOlder(node.stat.ctime, than: attributes.redeliveryDelay) else { return nil }
                return move(of: name, node, epoch, attributes)
            }
            let complete = try await withSuccessions(moves, attributes)
            let deadLetters = complete.filter { $0.cause != nil }
            // The next message of a group goes to a folder of this epoch.
            for (moves, moveGuard) in [
                (deadLetters.filter { $0.succession == nil }, MoveGuard.nothing),
                (deadLetters.filter { $0.succession != nil }, .epoch(epoch)),
            ] {
                let outcome = try await mover.apply(moves, guardedBy: moveGuard)
                report.deadLettered += outcome.count
                if !outcome.isComplete { return }
            }
            let outcome = try await mover.apply(complete.filter { $0.cause == nil }, guardedBy: .epoch(epoch))
            report.redelivered += outcome.count
            // In another epoch the messages belong into other folders. The next pass tries again.
            if !outcome.isComplete { return }
            rest = rest.dropFirst(MessageMover.batchSize)
        }
    }

    /// Adds what happens to the groups that messages leave.
    private func withSuccessions(_ moves: [MessageMove], _ attributes: QueueAttributes) async throws -> [MessageMove] {
        var complete: [MessageMove] = []
        for var move in moves {
            if let key = move.group {
                // A group that cannot be read must not keep the other messages from being moved.
                try await queue.skipped.handle(move.from) {
                    move.succession = try await queue.groups.succession(of: key)
                }
                guard move.succession != nil else { continue }
                move.succession?.use(attributes)
            }
            complete.append(move)
        }
        return complete
    }

    private func move(
        of name: String, _ node: Node, _ epoch: SequenceEpoch, _ attributes: QueueAttributes
    ) -> MessageMove {
        var move = MessageMove(from: tree.partial(name), version: node.stat.version, store: queue.store)
        let data = Envelope.restored(node.data)
        guard let item = ItemName(name) else {
            move.messages = [.init(path: tree.dead(name), data: data)]
            move.group = Envelope.group(in: data)
            move.cause = "its name is not the name of a message"
            return move
        }
        let next = item.with(redeliveries: item.redeliveries + 1)
        // The first crash may have many reasons. After the second one, the message itself may be the reason.
        let delay = next.redeliveries > 1 ? attributes.retry.delay(after: next.redeliveries) : .zero
        if next.redeliveries >= attributes.maximumDeliveries {
            move.messages = [.init(path: tree.dead(next.string), data: data)]
            move.group = Envelope.group(in: data)
            move.cause = "delivered \(next.redeliveries) times, and its last consumer failed"
        } else if delay > .zero {
            let due = EnsembleTime(millisecondsSince1970: ages.now).advanced(by: delay)
            var delayed = data
            if !attributes.retryBlocksGroup, case .message(let envelope) = Envelope.read(data), envelope.group != nil {
                (move.group, delayed) = (Envelope.group(in: data), envelope.outsideGroup.encoded())
            }
            move.messages = [.init(path: tree.delayed(next.string, due: due), data: delayed)]
            move.slot = DelaySlot(due)
        } else {
            move.messages = [.init(path: epoch.path(of: next, in: tree), data: data)]
        }
        return move
    }
}
