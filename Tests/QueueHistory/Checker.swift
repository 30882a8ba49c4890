/// Checks a history against the queue's promises.
///
/// It does not know how the queue works. It uses only the events that the processes recorded, and the final state of
/// the tree, as Jepsen's queue checker does (https://jepsen-io.github.io/jepsen/jepsen.checker.html#var-total-queue).
///
/// The queue is not to blame for operations that the servers lose when they roll back to a checkpoint. The outcome of
/// an operation that was reported between the checkpoint and the rollback therefore counts as unknown. An operation
/// that is reported as done *after* the rollback must be true of the tree that the servers went back to. This is exact
/// if no response is on its way, and no event is about to be recorded, at the moment of the rollback.
package struct Checker {
    private struct Message {
        var isAttempted = false
        var isSent = false
        var isRefused = false
        var deliveries: [HistoryEvent] = []
        var acknowledged: [HistoryEvent] = []
        /// The tokens of acknowledgements of unknown outcome, including those of processes that were killed.
        var unresolved: Set<Int64> = []
        /// The tokens of deliveries that may not count, because the consumer may have been closed while it held the
        /// message.
        var interrupted: Set<Int64> = []
        var deadLettered = 0
    }

    private var messages: [String: Message] = [:]
    private let history: [HistoryEvent]
    private let finalState: FinalState

    private let maximumDeliveries: Int
    /// Returns the key of a message's group.
    private let group: (String) -> String?

    package init(
        _ history: [HistoryEvent], finalState: FinalState, maximumDeliveries: Int = 10,
        group: @escaping (String) -> String? = { _ in nil }
    ) {
        self.group = group
        let history = Self.withoutUndone(history)
        self.history = history
        self.maximumDeliveries = maximumDeliveries
        self.finalState = finalState
        for event in history {
            var message = messages[event.message] ?? Message()
            switch event.kind {
            case .sending: message.isAttempted = true
            case .sent: message.isSent = true
            case .sendRefused: message.isRefused = true
            case .delivered: message.deliveries.append(event)
            case .acknowledging: message.unresolved.insert(event.token)
            case .acknowledgeUnknown:
                message.unresolved.insert(event.token)
                message.interrupted.insert(event.token)
            case .interrupted, .requeueUnknown, .deadLetterUnknown: message.interrupted.insert(event.token)
            case .acknowledged:
                message.acknowledged.append(event)
                message.unresolved.remove(event.token)
            case .leaseLost: message.unresolved.remove(event.token)
            case .deadLettered: message.deadLettered += 1
            case .sendUnknown, .requeued, .checkpoint, .rollback: break
            }
            messages[event.message] = message
        }
    }

    /// Returns the history without checkpoints and rollbacks, and with unknown outcomes in place of the outcomes that
    /// the servers have undone.
    private static func withoutUndone(_ history: [HistoryEvent]) -> [HistoryEvent] {
        var kept: [HistoryEvent] = []
        var checkpoint = 0
        for event in history {
            switch event.kind {
            case .checkpoint: checkpoint = kept.count
            case .rollback: kept.replaceSubrange(checkpoint..., with: kept[checkpoint...].compactMap(\.undone))
            default: kept.append(event)
            }
        }
        return kept
    }

    /// Returns the broken promises.
    ///
    /// - Parameter isOrdered: whether to check the order of the deliveries, which needs a single producer and a single
    ///   consumer.
    package func violations(isOrdered: Bool = false) -> [Violation] {
        var found: [Violation] = []
        let remaining = Dictionary(grouping: finalState.all, by: \.payload)
        for (payload, message) in messages.sorted(by: { $0.key < $1.key }) {
            found += check(payload, message, remaining: remaining[payload] ?? [])
        }
        for message in finalState.all where messages[message.payload]?.isAttempted != true {
            found.append(Violation(.nothingUnexpected, "\(message.payload) was never sent, and is in \(message.name)"))
        }
        for path in finalState.unneededNodes { found.append(Violation(.nothingLeftBehind, path)) }
        if isOrdered { found += checkOrder() }
        return found + checkGroups()
    }

    private func check(_ payload: String, _ message: Message, remaining: [FinalState.Message]) -> [Violation] {
        var found: [Violation] = []
        func fail(_ invariant: Invariant, _ detail: String) {
            found.append(Violation(invariant, "\(payload): \(detail)"))
        }
        guard message.isAttempted else {
            fail(.nothingUnexpected, "was delivered, and never sent")
            return found
        }
        if message.isRefused, !message.isSent, !message.deliveries.isEmpty || !remaining.isEmpty {
            fail(.nothingUnexpected, "was refused, and is stored")
        }
        let isDone = !message.acknowledged.isEmpty || !message.unresolved.isEmpty
        if message.isSent, !isDone, remaining.isEmpty { fail(.noneLost, "was stored, and is gone") }

        let copies = Set((message.deliveries.map(\.name) + remaining.map(\.name)).map { $0.prefix { $0 != "." } })
        if copies.count > 1 || remaining.count > 1 { fail(.storedOnce, "is stored as \(copies.sorted())") }

        let tokens = message.deliveries.map(\.token)
        if Set(tokens).count < tokens.count { fail(.oneLease, "was handed out twice by one claim") }
        for (earlier, later) in zip(message.deliveries, message.deliveries.dropFirst())
        where later.process == earlier.process && later.token < earlier.token {
            fail(.oneLease, "the fencing token decreased from \(earlier.token) to \(later.token)")
        }
        let latest = tokens.max() ?? 0
        if message.acknowledged.count > 1 {
            fail(.lostLeaseChangesNothing, "was acknowledged \(message.acknowledged.count) times")
        }
        if let first = message.acknowledged.map(\.token).min(), latest > first {
            fail(.acknowledgedIsFinal, "was delivered again after it was acknowledged")
        }
        if let acknowledged = message.acknowledged.first, !remaining.isEmpty {
            fail(.acknowledgedIsFinal, "was acknowledged by \(acknowledged.process), and is in \(remaining[0].name)")
        }

        let deliveries = message.deliveries.sorted { $0.token < $1.token }
        let counts = deliveries.map(\.deliveryCount)
        let areIncreasing = zip(deliveries, deliveries.dropFirst()).allSatisfy { earlier, later in
            earlier.deliveryCount < later.deliveryCount
                || earlier.deliveryCount == later.deliveryCount && message.interrupted.contains(earlier.token)
        }
        if !areIncreasing {
            fail(.deliveriesCounted, "the delivery counts are \(counts)")
        }
        if let last = counts.last, last > maximumDeliveries {
            fail(.deliveriesCounted, "has the delivery count \(last), and the maximum is \(maximumDeliveries)")
        }
        if let first = counts.first, first < 1 { fail(.deliveriesCounted, "the first delivery count is \(first)") }
        if message.deadLettered > 1 { fail(.deliveriesCounted, "was dead-lettered \(message.deadLettered) times") }
        return found
    }

    /// Checks that first deliveries come in the order in which the messages were stored.
    private func checkOrder() -> [Violation] {
        let first = history.filter { $0.kind == .delivered && $0.deliveryCount == 1 }.map { $0.name }
        return zip(first, first.dropFirst()).filter { Self.sortKey($0) >= Self.sortKey($1) }.map {
            Violation(.orderKept, "\($1) came after \($0)")
        }
    }

    /// Checks that the messages of a group came one after the other: none again after another one of the group, and
    /// those of one producer in the order in which they were sent.
    private func checkGroups() -> [Violation] {
        var found: [Violation] = []
        let deliveries = history.filter { $0.kind == .delivered }.sorted { $0.token < $1.token }
        let sendings = history.filter { $0.kind == .sending }
        var numbers: [String: (producer: String, number: Int)] = [:]
        for (number, event) in sendings.enumerated() where numbers[event.message] == nil {
            numbers[event.message] = (event.process, number)
        }
        for (key, events) in Dictionary(grouping: deliveries, by: { group($0.message) }) where key != nil {
            var finished: Set<String> = []
            var last: [String: (message: String, number: Int)] = [:]
            for (index, event) in events.enumerated() {
                if index > 0, events[index - 1].message != event.message { finished.insert(events[index - 1].message) }
                if finished.contains(event.message) {
                    found.append(
                        Violation(
                            .groupOrderKept,
                            "\(event.message) was delivered after \(events[index - 1].message) of the same group, and before"
                        ))
                }
                guard let (producer, number) = numbers[event.message] else { continue }
                if let before = last[producer], before.number > number {
                    found.append(Violation(.groupOrderKept, "\(event.message) came after \(before.message)"))
                }
                last[producer] = (event.message, number)
            }
        }
        return found
    }

    /// Names sort as text, except for the number of the epoch after the priority: `item-PPP-[eN-]…`.
    private static func sortKey(_ name: String) -> (String, Int, String) {
        let parts = name.split(separator: "-", maxSplits: 3).map(String.init)
        guard parts.count == 4, parts[2].hasPrefix("e"), let epoch = Int(parts[2].dropFirst()) else {
            return (String(name.prefix(9)), 0, String(name.dropFirst(9)))
        }
        return (parts[0...1].joined(separator: "-") + "-", epoch, parts[3])
    }
}

extension HistoryEvent {
    /// The event in place of this one when the servers have undone the operation; `nil` when it no longer counts.
    fileprivate var undone: HistoryEvent? {
        switch kind {
        case .sent: with(.sendUnknown)
        case .acknowledged: with(.acknowledgeUnknown)
        case .requeued: with(.requeueUnknown)
        case .deadLettered: with(.deadLetterUnknown)
        // The claim is undone, so the next delivery may be the first one again.
        case .delivered: nil
        default: self
        }
    }

    private func with(_ kind: Kind) -> HistoryEvent {
        HistoryEvent(kind, by: process, message, token: token, deliveryCount: deliveryCount, name: name, time: time)
    }
}
