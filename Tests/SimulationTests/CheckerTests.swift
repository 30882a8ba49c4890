import QueueHistory
import Testing

/// The checker itself: each promise, kept and broken.
struct CheckerTests {
    private func broken(
        _ events: [HistoryEvent], _ finalState: FinalState = .init(), isOrdered: Bool = false
    ) -> Set<Invariant> {
        Set(Checker(events, finalState: finalState).violations(isOrdered: isOrdered).map(\.invariant))
    }

    private func delivery(
        _ kind: HistoryEvent.Kind, _ message: String = "a", token: Int64 = 1, count: Int = 1, by process: String = "c",
        name: String = "item-100-0000000000"
    ) -> HistoryEvent {
        HistoryEvent(kind, by: process, message, token: token, deliveryCount: count, name: name)
    }

    private let sent = [HistoryEvent(.sending, by: "p", "a"), HistoryEvent(.sent, by: "p", "a")]
    private let remaining = FinalState.Message(name: "item-100-0000000000", payload: "a")

    @Test("The checker accepts a history in which every promise is kept")
    func acceptsKeptPromises() {
        let consumed = [delivery(.delivered), delivery(.acknowledging), delivery(.acknowledged)]
        #expect(broken(sent + consumed).isEmpty)
        #expect(broken(sent, FinalState(ready: [remaining])).isEmpty)
        #expect(broken(sent, FinalState(dead: [remaining])).isEmpty)
    }

    @Test("The checker finds a lost message")
    func findsLostMessage() {
        #expect(broken(sent) == [.noneLost])
        #expect(broken(sent + [delivery(.delivered)]) == [.noneLost])
        #expect(broken(sent + [delivery(.delivered), delivery(.acknowledging), delivery(.leaseLost)]) == [.noneLost])
    }

    @Test("The checker accepts either outcome of a send or an acknowledgement of unknown outcome")
    func acceptsUnknownOutcomes() {
        let unknown = [HistoryEvent(.sending, by: "p", "a"), HistoryEvent(.sendUnknown, by: "p", "a")]
        #expect(broken(unknown).isEmpty)
        #expect(broken(unknown, FinalState(ready: [remaining])).isEmpty)
        #expect(broken(sent + [delivery(.delivered), delivery(.acknowledging)]).isEmpty)
    }

    @Test("The checker finds unsent messages, duplicates, double leases, wrong delivery counts and unneeded nodes")
    func findsOtherViolations() {
        #expect(broken([delivery(.delivered)]) == [.nothingUnexpected])
        #expect(broken([], FinalState(ready: [remaining])) == [.nothingUnexpected])
        let refused = [HistoryEvent(.sending, by: "p", "a"), HistoryEvent(.sendRefused, by: "p", "a")]
        #expect(broken(refused).isEmpty)
        #expect(broken(refused, FinalState(ready: [remaining])) == [.nothingUnexpected])
        let twice = FinalState(ready: [remaining, .init(name: "item-100-0000000001", payload: "a")])
        #expect(broken(sent, twice) == [.storedOnce])
        #expect(
            broken(sent + [delivery(.delivered), delivery(.delivered, by: "d"), delivery(.acknowledged)]).contains(
                .oneLease))
        let end = [delivery(.delivered), delivery(.acknowledged)]
        #expect(broken(sent + end, FinalState(ready: [remaining])) == [.acknowledgedIsFinal])
        #expect(broken(sent + end + [delivery(.delivered, token: 2, count: 2)]).contains(.acknowledgedIsFinal))
        let both = [
            delivery(.delivered, token: 2, count: 2, by: "d"), delivery(.acknowledged, token: 2, count: 2, by: "d"),
        ]
        #expect(broken(sent + end + both).contains(.lostLeaseChangesNothing))
        #expect(
            broken(sent + [delivery(.delivered), delivery(.delivered, token: 2), delivery(.acknowledged, token: 2)])
                == [.deliveriesCounted])
        #expect(broken(sent + end, FinalState(unneededNodes: ["/queue/x"])) == [.nothingLeftBehind])
    }

    private let checkpoint = HistoryEvent(.checkpoint, by: "servers", "")
    private let rollback = HistoryEvent(.rollback, by: "servers", "")

    @Test("The checker does not blame the queue for operations that the servers have undone")
    func acceptsUndoneOperations() {
        #expect(broken([checkpoint] + sent + [rollback]).isEmpty)
        let consumed = [delivery(.delivered), delivery(.acknowledging), delivery(.acknowledged)]
        #expect(broken(sent + [checkpoint] + consumed + [rollback], FinalState(ready: [remaining])).isEmpty)
        let again = [delivery(.delivered, token: 2), delivery(.acknowledged, token: 2)]
        #expect(broken(sent + [checkpoint] + consumed + [rollback] + again).isEmpty)
    }

    @Test("Operations reported before the checkpoint, or after the rollback, must be true of the final state")
    func checksReportsAroundRollback() {
        let delivered = sent + [delivery(.delivered)]
        let acknowledged = [delivery(.acknowledged)]
        let late = delivered + [checkpoint, delivery(.acknowledging), rollback] + acknowledged
        #expect(broken(late).isEmpty)
        #expect(broken(late, FinalState(held: [remaining])) == [.acknowledgedIsFinal])
        #expect(broken(late + [delivery(.delivered, token: 2, count: 2)]) == [.acknowledgedIsFinal])
        let early = delivered + acknowledged + [checkpoint, rollback]
        #expect(broken(early).isEmpty)
        #expect(broken(early, FinalState(held: [remaining])) == [.acknowledgedIsFinal])
        #expect(broken([checkpoint, sent[0], rollback, sent[1]]) == [.noneLost])
        #expect(broken(sent + [checkpoint, rollback]) == [.noneLost])
    }

    @Test("The checker finds messages that arrive out of order, but only when the order is to be checked")
    func checksOrder() {
        let events =
            sent + [
                HistoryEvent(.sending, by: "p", "b"), delivery(.delivered, "b", name: "item-100-0000000001"),
                delivery(.acknowledged, "b"), delivery(.delivered, token: 2), delivery(.acknowledged, token: 2),
            ]
        #expect(broken(events, isOrdered: true) == [.orderKept])
        #expect(broken(events).isEmpty)
    }

    @Test(
        "The checker finds messages of a group that overtake each other, and accepts redeliveries before the next one")
    func checksGroups() {
        func broken(_ messages: [String], group: @escaping (String) -> String? = { _ in "g" }) -> Set<Invariant> {
            let sent = ["a", "b"].flatMap { [HistoryEvent(.sending, by: "p", $0), HistoryEvent(.sent, by: "p", $0)] }
            var counts: [String: Int] = [:]
            let deliveries = messages.enumerated().map { number, message in
                counts[message, default: 0] += 1
                return HistoryEvent(
                    .delivered, by: "c", message, token: Int64(number), deliveryCount: counts[message] ?? 0,
                    name: "item-\(message)")
            }
            let dead = FinalState(dead: ["a", "b"].map { .init(name: "item-\($0)", payload: $0) })
            // The order in which processes record deliveries is not that of the claims.
            let checker = Checker(sent + deliveries.reversed(), finalState: dead, group: group)
            return Set(checker.violations().map(\.invariant)).intersection([.groupOrderKept])
        }
        #expect(broken(["a", "a", "b", "b"]).isEmpty)
        #expect(broken(["b", "a"]) == [.groupOrderKept])
        #expect(broken(["a", "b", "a"]) == [.groupOrderKept])
        #expect(broken(["b", "a", "b"], group: { $0 }).isEmpty)
        #expect(broken(["b", "a", "b"], group: { _ in nil }).isEmpty)
    }

    @Test("A history event is parsed from its line, and an incomplete line gives no event")
    func parsesLines() {
        let event = delivery(.delivered, "two words", token: 5, count: 3)
        #expect(HistoryEvent(line: "\(event)") == event)
        #expect(HistoryEvent(line: String("\(event)".prefix(20))) == nil)
        #expect(HistoryEvent(line: "") == nil)
    }
}
