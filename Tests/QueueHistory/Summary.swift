/// The figures that Jepsen's queue tests report for a run.
package struct Summary: Sendable, CustomStringConvertible {
    package var attempted = 0
    package var sent = 0
    package var delivered = 0
    package var acknowledged = 0
    /// Sends of unknown outcome whose message was stored.
    package var recovered = 0
    /// Deliveries of messages that had been delivered before.
    package var duplicated = 0
    package var lost = 0
    package var unexpected = 0

    package init(_ history: [HistoryEvent], violations: [Violation]) {
        var attemptedMessages: Set<String> = []
        var sentMessages: Set<String> = []
        var deliveredMessages: Set<String> = []
        for event in history {
            switch event.kind {
            case .sending: attemptedMessages.insert(event.message)
            case .sent: sentMessages.insert(event.message)
            case .delivered:
                delivered += 1
                if !deliveredMessages.insert(event.message).inserted { duplicated += 1 }
            case .acknowledged: acknowledged += 1
            default: break
            }
        }
        attempted = attemptedMessages.count
        sent = sentMessages.count
        recovered = deliveredMessages.intersection(attemptedMessages).subtracting(sentMessages).count
        lost = violations.count { $0.invariant == .noneLost }
        unexpected = violations.count { $0.invariant == .nothingUnexpected }
    }

    package var description: String {
        "attempted \(attempted), sent \(sent), delivered \(delivered), acknowledged \(acknowledged), "
            + "recovered \(recovered), duplicated deliveries \(duplicated), lost \(lost), unexpected \(unexpected)"
    }
}
