import QueueHistory
import Testing

/// The judge itself: each promise, kept and broken.
struct CheckerTests {
    private func broken(_ events: [HistoryEvent], _ finalState: FinalState = .init(), isOrdered: Bool = false) -> Set<
        Invariant
    > {
        Set(Checker(events, finalState: finalState).violations(isOrdered: isOrdered).map(\.invariant))
    }

    private func delivery(
        _ kind: HistoryEvent.Kind, _ message: String = "a", token: Int64 = 1, count: Int = 1, by member: String = "c",
        name: String = "item-100-0000000000"
    ) -> HistoryEvent {
        HistoryEvent(kind, by: member, message, token: token, deliveryCount: count, name: name)
    }

    private let sent = [HistoryEvent(.sending, by: "p", "a"), HistoryEvent(.sent, by: "p", "a")]
    private let here = FinalState.Message(name: "item-100-0000000000", payload: "a")

    @Test func aKeptPromiseIsNoViolation() {
        let taken = [delivery(.delivered), delivery(.acknowledging), delivery(.acknowledged)]
        #expect(broken(sent + taken).isEmpty)
        #expect(broken(sent, FinalState(ready: [here])).isEmpty)
        #expect(broken(sent, FinalState(dead: [here])).isEmpty)
    }

    @Test func aLostMessageIsFound() {
        #expect(broken(sent) == [.noneLost])
        #expect(broken(sent + [delivery(.delivered)]) == [.noneLost])
        #expect(broken(sent + [delivery(.delivered), delivery(.acknowledging), delivery(.leaseLost)]) == [.noneLost])
    }

    @Test func whatMayHaveHappenedIsAllowed() {
        let unknown = [HistoryEvent(.sending, by: "p", "a"), HistoryEvent(.sendUnknown, by: "p", "a")]
        #expect(broken(unknown).isEmpty)
        #expect(broken(unknown, FinalState(ready: [here])).isEmpty)
        #expect(broken(sent + [delivery(.delivered), delivery(.acknowledging)]).isEmpty)
    }

    @Test func anythingElseIsFound() {
        #expect(broken([delivery(.delivered)]) == [.nothingUnexpected])
        #expect(broken([], FinalState(ready: [here])) == [.nothingUnexpected])
        let refused = [HistoryEvent(.sending, by: "p", "a"), HistoryEvent(.sendRefused, by: "p", "a")]
        #expect(broken(refused).isEmpty)
        #expect(broken(refused, FinalState(ready: [here])) == [.nothingUnexpected])
        let twice = FinalState(ready: [here, .init(name: "item-100-0000000001", payload: "a")])
        #expect(broken(sent, twice) == [.storedOnce])
        #expect(
            broken(sent + [delivery(.delivered), delivery(.delivered, by: "d"), delivery(.acknowledged)]).contains(
                .oneLease))
        let end = [delivery(.delivered), delivery(.acknowledged)]
        #expect(broken(sent + end, FinalState(ready: [here])) == [.acknowledgedIsFinal])
        #expect(broken(sent + end + [delivery(.delivered, token: 2, count: 2)]).contains(.acknowledgedIsFinal))
        let both = [
            delivery(.delivered, token: 2, count: 2, by: "d"), delivery(.acknowledged, token: 2, count: 2, by: "d"),
        ]
        #expect(broken(sent + end + both).contains(.lostLeaseChangesNothing))
        #expect(
            broken(sent + [delivery(.delivered), delivery(.delivered, token: 2), delivery(.acknowledged, token: 2)])
                == [.deliveriesCounted])
        #expect(broken(sent + end, FinalState(garbage: ["/queue/x"])) == [.nothingLeftBehind])
    }

    private let checkpoint = HistoryEvent(.checkpoint, by: "servers", "")
    private let rollback = HistoryEvent(.rollback, by: "servers", "")

    @Test("What the servers have undone is no fault of the queue")
    func undoneByTheServers() {
        #expect(broken([checkpoint] + sent + [rollback]).isEmpty)
        let taken = [delivery(.delivered), delivery(.acknowledging), delivery(.acknowledged)]
        #expect(broken(sent + [checkpoint] + taken + [rollback], FinalState(ready: [here])).isEmpty)
        let again = [delivery(.delivered, token: 2), delivery(.acknowledged, token: 2)]
        #expect(broken(sent + [checkpoint] + taken + [rollback] + again).isEmpty)
    }

    @Test("Reports from before the checkpoint, or after the rollback, must be true")
    func reportedAroundARollback() {
        let begun = sent + [delivery(.delivered)]
        let ended = [delivery(.acknowledged)]
        let late = begun + [checkpoint, delivery(.acknowledging), rollback] + ended
        #expect(broken(late).isEmpty)
        #expect(broken(late, FinalState(held: [here])) == [.acknowledgedIsFinal])
        #expect(broken(late + [delivery(.delivered, token: 2, count: 2)]) == [.acknowledgedIsFinal])
        let early = begun + ended + [checkpoint, rollback]
        #expect(broken(early).isEmpty)
        #expect(broken(early, FinalState(held: [here])) == [.acknowledgedIsFinal])
        #expect(broken([checkpoint, sent[0], rollback, sent[1]]) == [.noneLost])
        #expect(broken(sent + [checkpoint, rollback]) == [.noneLost])
    }

    @Test func theOrderIsJudged() {
        let events =
            sent + [
                HistoryEvent(.sending, by: "p", "b"), delivery(.delivered, "b", name: "item-100-0000000001"),
                delivery(.acknowledged, "b"), delivery(.delivered, token: 2), delivery(.acknowledged, token: 2),
            ]
        #expect(broken(events, isOrdered: true) == [.orderKept])
        #expect(broken(events).isEmpty)
    }

    @Test func aHistoryIsReadBackFromItsLines() {
        let event = delivery(.delivered, "two words", token: 5, count: 3)
        #expect(HistoryEvent(line: "\(event)") == event)
        #expect(HistoryEvent(line: String("\(event)".prefix(20))) == nil)
        #expect(HistoryEvent(line: "") == nil)
    }
}
