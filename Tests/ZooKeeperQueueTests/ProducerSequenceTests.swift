import Testing
import ZooKeeper

@testable import ZooKeeperQueue

struct ProducerSequenceTests {
    private func entries(_ numbers: ClosedRange<Int>, bytes: Int = 10) -> [ProducerSequence.Entry] {
        numbers.map {
            ProducerSequence.Entry(
                send: UnresolvedSend(number: UInt64($0)), index: 0,
                priority: 100, data: .init(repeating: 1, count: bytes), size: bytes + 73)
        }
    }

    private func numbers(_ entries: [ProducerSequence.Entry]) -> [UInt64] { entries.map(\.send.number) }

    private func numbers(_ stored: [([ProducerSequence.Entry], [String?])]) -> [UInt64] {
        stored.flatMap { numbers($0.0) }
    }

    private func lane(flights: Int = 1, minimum: Int = 1) -> ProducerSequence {
        ProducerSequence(maximumBytes: 1_000, maximumOperations: 5, maximumFlights: flights, minimumBatch: minimum)
    }

    private func next(_ lane: inout ProducerSequence) -> [ProducerSequence.Entry] {
        lane.nextBatch(overhead: 0)?.entries ?? []
    }

    private func failure(_ outcome: ZooKeeperError.Outcome, _ code: ZooKeeperError.Code) -> Result<[String?], any Error>
    {
        .failure(ZooKeeperError(code: code, message: "", path: nil, operationIndex: 0, outcome: outcome))
    }
    private var unanswered: Result<[String?], any Error> { failure(.unknown, .connectionLoss) }
    private var refused: Result<[String?], any Error> { failure(.notApplied, .badVersion) }
    private let good = Result<[String?], any Error>.success([nil])

    @Test func whatGathersGoesTogetherUpToTheLimits() {
        var lane = lane()
        lane.append(entries(1...12))
        #expect(numbers(next(&lane)) == [1, 2, 3, 4, 5])
        #expect(lane.nextBatch(overhead: 0) == nil)
        #expect(numbers(lane.landed(0, good)) == [1, 2, 3, 4, 5])
        lane.append(entries(13...13, bytes: 900))
        #expect(numbers(next(&lane)) == [6, 7, 8, 9, 10])
        _ = lane.landed(1, good)
        #expect(numbers(next(&lane)) == [11, 12])
        _ = lane.landed(2, good)
        #expect(numbers(next(&lane)) == [13])
        _ = lane.landed(3, good)
        #expect(lane.isEmpty && lane.version == 4)
    }

    @Test func anIDIsOnceInABatch() {
        var lane = ProducerSequence(maximumBytes: 1_000, maximumOperations: 20, maximumFlights: 1, minimumBatch: 1)
        var all = entries(1...3)
        for index in all.indices { all[index].id = ["a", "b", "a"][index] }
        lane.append(all)
        #expect(numbers(next(&lane)) == [1, 2])
        #expect(numbers(lane.landed(0, good)) == [1, 2])
        #expect(numbers(next(&lane)) == [3])
    }

    @Test func furtherBatchesNeedEnoughMessagesAndEndInTheirOrder() {
        var lane = lane(flights: 3, minimum: 3)
        lane.append(entries(1...1))
        #expect(lane.nextBatch(overhead: 0)?.version == 0)
        lane.append(entries(2...3))
        #expect(lane.nextBatch(overhead: 0) == nil)
        lane.append(entries(4...20))
        #expect(lane.nextBatch(overhead: 0)?.version == 1 && lane.nextBatch(overhead: 0)?.version == 2)
        #expect(lane.nextBatch(overhead: 0) == nil)
        #expect(lane.landed(1, good).isEmpty && lane.landed(2, good).isEmpty)
        #expect(numbers(lane.landed(0, good)) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    }

    /// Of batches 0…3: the first without an answer, but the second one stored, so that the first is, too; the third refused.
    @Test func aStoredOneTellsOfThoseBeforeIt() {
        var lane = lane(flights: 4)
        lane.append(entries(1...20))
        for _ in 0..<4 { _ = lane.nextBatch(overhead: 0) }
        #expect(lane.landed(0, unanswered).isEmpty && lane.landed(1, good).isEmpty && !lane.hasLanded)
        #expect(lane.landed(2, refused).isEmpty && lane.landed(3, unanswered).isEmpty)
        #expect(lane.isHalted && lane.hasLanded && lane.nextBatch(overhead: 0) == nil)
        let (stored, error) = lane.sortOut()
        #expect(numbers(stored) == Array(1...10) && error != nil && !lane.isUnresolved && !lane.isHalted)
        let next = lane.nextBatch(overhead: 0)
        #expect(next?.version == 2 && numbers(next?.entries ?? []) == Array(11...15))
    }

    @Test func unansweredOnesAreResolvedOneAfterTheOther() {
        var lane = lane(flights: 3)
        lane.append(entries(1...15))
        for _ in 0..<3 { _ = lane.nextBatch(overhead: 0) }
        lane.append(entries(16...16))
        _ = (lane.landed(0, unanswered), lane.landed(1, unanswered), lane.landed(2, refused))
        _ = lane.sortOut()
        #expect(lane.unresolved == 2 && lane.firstUnresolved?.version == 0 && lane.nextBatch(overhead: 0) == nil)
        let sixteenth = UnresolvedSend(number: 16)
        #expect(lane.isWaiting(sixteenth) && !lane.isWaiting(UnresolvedSend(number: 10)))
        lane.withdraw(sixteenth, count: 1)
        #expect(numbers(lane.firstIsStored()) == [1, 2, 3, 4, 5] && lane.firstUnresolved?.version == 1)
        #expect(numbers(lane.firstIsRefused()) == [6, 7, 8, 9, 10] && !lane.isUnresolved)
        let next = lane.nextBatch(overhead: 0)
        #expect(next?.version == 1 && numbers(next?.entries ?? []) == Array(11...15))
    }

    @Test func whatIsBehindARefusedOneMayBeSentAgain() {
        var lane = lane(flights: 3)
        lane.append(entries(1...15))
        for _ in 0..<3 { _ = lane.nextBatch(overhead: 0) }
        _ = (lane.landed(0, unanswered), lane.landed(1, unanswered), lane.landed(2, unanswered))
        _ = lane.sortOut()
        #expect(numbers(lane.firstIsRefused()) == [1, 2, 3, 4, 5])
        #expect(numbers(lane.removeWaiting()) == Array(6...15) && lane.isEmpty && lane.version == 0)
    }

    @Test func whatTheLaneCannotTellAnyMoreIsAbandoned() {
        var lane = lane(flights: 2)
        lane.append(entries(1...12))
        for _ in 0..<2 { _ = lane.nextBatch(overhead: 0) }
        _ = (lane.landed(0, unanswered), lane.landed(1, unanswered))
        _ = lane.sortOut()
        #expect(numbers(lane.abandonUnresolved()) == Array(1...10))
        #expect(lane.nextBatch(overhead: 0).map { numbers($0.entries) } == [11, 12])
    }

    @Test("A withdrawn send is passed over, wherever it waits")
    func aWithdrawnSendIsPassedOver() {
        var lane = lane(flights: 3, minimum: 4)
        lane.append(entries(1...3))
        #expect(numbers(next(&lane)) == [1, 2, 3])
        lane.append(entries(4...12))
        for number: UInt64 in [4, 7, 12] { lane.withdraw(UnresolvedSend(number: number), count: 1) }
        #expect(numbers(next(&lane)) == [5, 6, 8, 9, 10])
        // One that waits alone is too few for another batch, and 11 is not taken for two.
        #expect(lane.nextBatch(overhead: 0) == nil)
        _ = (lane.landed(0, good), lane.landed(1, good))
        #expect(numbers(next(&lane)) == [11])
        _ = lane.landed(2, good)
        #expect(lane.isEmpty)
    }

    @Test("A send of which a part was sent is not waiting, and its withdrawal leaves no other send out")
    func aSendOfSeveralMessages() {
        var lane = lane()
        let several = (0..<7).map {
            ProducerSequence.Entry(send: UnresolvedSend(number: 1), index: $0, priority: 100, data: [1], size: 74)
        }
        lane.append(several)
        lane.append(entries(2...3))
        #expect(lane.isWaiting(UnresolvedSend(number: 1)))
        #expect(next(&lane).map(\.index) == [0, 1, 2, 3, 4])
        #expect(!lane.isWaiting(UnresolvedSend(number: 1)) && lane.isWaiting(UnresolvedSend(number: 2)))
        // Given back, it waits as a whole again.
        _ = lane.landed(0, refused)
        _ = lane.sortOut()
        #expect(lane.isWaiting(UnresolvedSend(number: 1)))
        lane.withdraw(UnresolvedSend(number: 1), count: 7)
        #expect(numbers(next(&lane)) == [2, 3])
    }

    @Test("A withdrawn send is not admitted, and does not keep others from being admitted")
    func withdrawnAndGated() {
        var lane = lane()
        lane.isGated = true
        lane.append(entries(1...6))
        for number: UInt64 in [2, 4] { lane.withdraw(UnresolvedSend(number: number), count: 1) }
        var asked: [UInt64] = []
        lane.admit { entries in
            asked += numbers(Array(entries))
            return asked.count < 4
        }
        #expect(asked == [1, 3, 5, 6])
        #expect(numbers(lane.removeUnadmitted()) == [6] && !lane.hasUnadmitted)
        #expect(numbers(next(&lane)) == [1, 3, 5])
    }

    @Test("A send of which a part was stored before the queue got a bound is admitted as a whole")
    func begunAndGated() {
        var lane = lane()
        lane.append(
            (0..<7).map {
                ProducerSequence.Entry(send: UnresolvedSend(number: 1), index: $0, priority: 100, data: [1], size: 74)
            })
        lane.append(entries(2...2))
        #expect(next(&lane).map(\.index) == [0, 1, 2, 3, 4])
        lane.isGated = true
        _ = lane.landed(0, good)
        lane.admit { _ in false }
        #expect(numbers(lane.removeUnadmitted()) == [2])
        #expect(next(&lane).map(\.index) == [5, 6])
    }

    @Test("Withdrawing half of 50,000 sends is of the order of sending them")
    func manyWithdrawals() {
        func drain(withdrawing: Bool) -> Duration {
            var lane = ProducerSequence(maximumBytes: 1_000_000, maximumOperations: 1_000)
            lane.append(entries(1...50_000))
            let start = ContinuousClock.now
            if withdrawing {
                for number in stride(from: UInt64(1), through: 50_000, by: 2) {
                    lane.withdraw(UnresolvedSend(number: number), count: 1)
                }
            }
            var sent = 0
            while let batch = lane.nextBatch(overhead: 0) {
                sent += batch.entries.count
                _ = lane.landed(batch.version, good)
            }
            #expect(sent == (withdrawing ? 25_000 : 50_000) && lane.isEmpty)
            return start.duration(to: .now)
        }
        // A scan of what waits for each of them would take some thousand times as long.
        let (without, with) = (drain(withdrawing: false), drain(withdrawing: true))
        #expect(with < without * 20, "\(with) instead of \(without)")
    }

    @Test("A batch counts as stored only at a version that its producer can have left")
    func verdicts() {
        var lane = lane(flights: 3)
        lane.append(entries(1...15))
        for version in Int32(0)..<2 {
            _ = lane.nextBatch(overhead: 0)
            _ = lane.landed(version, good)
        }
        // Nothing is unresolved: only the expected version fits.
        #expect(lane.version == 2)
        #expect([1, 2, 3].map { lane.verdict(on: $0) } == [.behind, .fits, .ahead])
        lane.append(entries(16...30))
        for _ in 0..<3 { _ = lane.nextBatch(overhead: 0) }
        _ = (lane.landed(2, unanswered), lane.landed(3, unanswered), lane.landed(4, refused))
        _ = lane.sortOut()
        #expect(lane.unresolved == 2)
        #expect(
            (0...5).map { lane.verdict(on: $0) } == [.behind, .behind, .fits, .stored, .stored, .ahead])
        // The first is stored, and so the next one is judged at its own version.
        _ = lane.firstIsStored()
        #expect((2...5).map { lane.verdict(on: $0) } == [.behind, .fits, .stored, .ahead])
    }
}
