/// Judges a history by itself: it knows nothing of how the queue works, and believes only what members wrote down and
/// what the tree holds in the end. After the idea of Jepsen's queue checker
/// (https://jepsen-io.github.io/jepsen/jepsen.checker.html#var-total-queue).
///
/// What servers lose that roll back to a checkpoint is not the queue's fault: of what members reported between the two,
/// the outcome counts as unknown. What a member reports *after* the rollback must be true of the tree that the servers went
/// back to: an acknowledgement, or a send, that was applied before it and is reported later as done is the queue's fault.
/// That is exact where no answer is on its way, and no report is about to be written, at the moment of the rollback.
package struct Checker {
    private struct Message {
        var isBegun = false
        var isSent = false
        var isRefused = false
        var deliveries: [HistoryEvent] = []
        var acknowledged: [HistoryEvent] = []
        /// Acknowledgements that may have been applied, though nobody was told: that of a member that was killed, too.
        var unresolved: Set<Int64> = []
        /// Deliveries that may count as none: their consumer may have been closed while it held the message.
        var interrupted: Set<Int64> = []
        var deadLettered = 0
    }

    private var messages: [String: Message] = [:]
    private let history: [HistoryEvent]
    private let finalState: FinalState

    private let maximumDeliveries: Int

    package init(_ history: [HistoryEvent], finalState: FinalState, maximumDeliveries: Int = 10) {
        let history = Self.withoutUndone(history)
        self.history = history
        self.maximumDeliveries = maximumDeliveries
        self.finalState = finalState
        for event in history {
            var message = messages[event.message] ?? Message()
            switch event.kind {
            case .sending: message.isBegun = true
            case .sent: message.isSent = true
            case .sendRefused: message.isRefused = true
            case .delivered: message.deliveries.append(event)
            case .acknowledging: message.unresolved.insert(event.token)
            case .acknowledgeUnknown:
                message.unresolved.insert(event.token)
                message.interrupted.insert(event.token)
            case .interrupted, .giveBackUnknown, .deadLetterUnknown: message.interrupted.insert(event.token)
            case .acknowledged:
                message.acknowledged.append(event)
                message.unresolved.remove(event.token)
            case .leaseLost: message.unresolved.remove(event.token)
            case .deadLettered: message.deadLettered += 1
            case .sendUnknown, .givenBack, .checkpoint, .rollback: break
            }
            messages[event.message] = message
        }
    }

    /// The history without the moments of rollbacks, and with unknown outcomes in place of those that the servers have undone.
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

    /// - Parameter isOrdered: whether one producer and one consumer alone make an order that can be expected.
    package func violations(isOrdered: Bool = false) -> [Violation] {
        var found: [Violation] = []
        let left = Dictionary(grouping: finalState.all, by: \.payload)
        for (payload, message) in messages.sorted(by: { $0.key < $1.key }) {
            found += check(payload, message, left: left[payload] ?? [])
        }
        for message in finalState.all where messages[message.payload]?.isBegun != true {
            found.append(Violation(.nothingUnexpected, "\(message.payload) was never sent, and is at \(message.name)"))
        }
        for path in finalState.garbage { found.append(Violation(.nothingLeftBehind, path)) }
        if isOrdered { found += checkOrder() }
        return found
    }

    private func check(_ payload: String, _ message: Message, left: [FinalState.Message]) -> [Violation] {
        var found: [Violation] = []
        func fail(_ invariant: Invariant, _ what: String) { found.append(Violation(invariant, "\(payload): \(what)")) }
        guard message.isBegun else {
            fail(.nothingUnexpected, "was delivered and never sent")
            return found
        }
        if message.isRefused, !message.isSent, !message.deliveries.isEmpty || !left.isEmpty {
            fail(.nothingUnexpected, "was refused, and is stored")
        }
        let isDone = !message.acknowledged.isEmpty || !message.unresolved.isEmpty
        if message.isSent, !isDone, left.isEmpty { fail(.noneLost, "was stored, and is nowhere") }

        let copies = Set((message.deliveries.map(\.name) + left.map(\.name)).map { $0.prefix { $0 != "." } })
        if copies.count > 1 || left.count > 1 { fail(.storedOnce, "is stored as \(copies.sorted())") }

        let tokens = message.deliveries.map(\.token)
        if Set(tokens).count < tokens.count { fail(.oneLease, "was handed out twice by one claim") }
        for (earlier, later) in zip(message.deliveries, message.deliveries.dropFirst())
        where later.member == earlier.member && later.token < earlier.token {
            fail(.oneLease, "the fencing token went back from \(earlier.token) to \(later.token)")
        }
        let latest = tokens.max() ?? 0
        if message.acknowledged.count > 1 {
            fail(.lostLeaseChangesNothing, "was acknowledged \(message.acknowledged.count) times")
        }
        if let first = message.acknowledged.map(\.token).min(), latest > first {
            fail(.acknowledgedIsFinal, "came again after it was acknowledged")
        }
        if let acknowledged = message.acknowledged.first, !left.isEmpty {
            fail(.acknowledgedIsFinal, "was acknowledged by \(acknowledged.member), and is at \(left[0].name)")
        }

        let deliveries = message.deliveries.sorted { $0.token < $1.token }
        let counts = deliveries.map(\.deliveryCount)
        let areCounted = zip(deliveries, deliveries.dropFirst()).allSatisfy { earlier, later in
            earlier.deliveryCount < later.deliveryCount
                || earlier.deliveryCount == later.deliveryCount && message.interrupted.contains(earlier.token)
        }
        if !areCounted {
            fail(.deliveriesCounted, "the delivery counts are \(counts)")
        }
        if let last = counts.last, last > maximumDeliveries {
            fail(.deliveriesCounted, "was delivered \(last) times, and \(maximumDeliveries) is the most")
        }
        if let first = counts.first, first < 1 { fail(.deliveriesCounted, "the first delivery count is \(first)") }
        if message.deadLettered > 1 { fail(.deliveriesCounted, "was dead-lettered \(message.deadLettered) times") }
        return found
    }

    /// First deliveries come in the order in which the messages were stored.
    private func checkOrder() -> [Violation] {
        let first = history.filter { $0.kind == .delivered && $0.deliveryCount == 1 }.map { $0.name }
        return zip(first, first.dropFirst()).filter { Self.place($0) >= Self.place($1) }.map {
            Violation(.orderKept, "\($1) came after \($0)")
        }
    }

    /// Names sort as they are, but for the number of the epoch behind the priority: `item-PPP-[eN-]…`.
    private static func place(_ name: String) -> (String, Int, String) {
        let parts = name.split(separator: "-", maxSplits: 3).map(String.init)
        guard parts.count == 4, parts[2].hasPrefix("e"), let epoch = Int(parts[2].dropFirst()) else {
            return (String(name.prefix(9)), 0, String(name.dropFirst(9)))
        }
        return (parts[0...1].joined(separator: "-") + "-", epoch, parts[3])
    }
}

extension HistoryEvent {
    /// The event as it counts when the servers have undone what it reports; `nil` when it counts no more.
    fileprivate var undone: HistoryEvent? {
        switch kind {
        case .sent: with(.sendUnknown)
        case .acknowledged: with(.acknowledgeUnknown)
        case .givenBack: with(.giveBackUnknown)
        case .deadLettered: with(.deadLetterUnknown)
        // The claim is undone: the message may come again as if for the first time.
        case .delivered: nil
        default: self
        }
    }

    private func with(_ kind: Kind) -> HistoryEvent {
        HistoryEvent(kind, by: member, message, token: token, deliveryCount: deliveryCount, name: name, time: time)
    }
}
