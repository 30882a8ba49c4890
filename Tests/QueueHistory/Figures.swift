/// The figures by which Jepsen's queue tests report a run.
package struct Figures: Sendable, CustomStringConvertible {
    package var attempted = 0
    package var sent = 0
    package var delivered = 0
    package var acknowledged = 0
    /// Sends of unknown outcome whose message was stored all the same.
    package var recovered = 0
    /// Deliveries of messages that had been delivered before.
    package var duplicated = 0
    package var lost = 0
    package var unexpected = 0

    package init(_ history: [HistoryEvent], violations: [Violation]) {
        var begun: Set<String> = []
        var known: Set<String> = []
        var seen: Set<String> = []
        for event in history {
            switch event.kind {
            case .sending: begun.insert(event.message)
            case .sent: known.insert(event.message)
            case .delivered:
                delivered += 1
                if !seen.insert(event.message).inserted { duplicated += 1 }
            case .acknowledged: acknowledged += 1
            default: break
            }
        }
        attempted = begun.count
        sent = known.count
        recovered = seen.intersection(begun).subtracting(known).count
        lost = violations.count { $0.invariant == .noneLost }
        unexpected = violations.count { $0.invariant == .nothingUnexpected }
    }

    package var description: String {
        "attempted \(attempted), sent \(sent), delivered \(delivered), acknowledged \(acknowledged), "
            + "recovered \(recovered), duplicated deliveries \(duplicated), lost \(lost), unexpected \(unexpected)"
    }
}
