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

    private func sequence(batches: Int = 1, minimum: Int = 1) -> ProducerSequence {
        ProducerSequence(
            maximumBytes: 1_000, maximumOperations: 5, maximumBatchesInFlight: batches, minimumBatch: minimum)
    }

    private func next(_ sequence: inout ProducerSequence) -> [ProducerSequence.Entry] {
        sequence.nextBatch(overhead: 0)?.entries ?? []
    }

    private func failure(_ outcome: ZooKeeperError.Outcome, _ code: ZooKeeperError.Code) -> Result<[String?], any Error>
    {
        .failure(ZooKeeperError(code: code, message: "", path: nil, operationIndex: 0, outcome: outcome))
    }
    private var unanswered: Result<[String?], any Error> { failure(.unknown, .connectionLoss) }
    private var refused: Result<[String?], any Error> { failure(.notApplied, .badVersion) }
    private let succeeded = Result<[String?], any Error>.success([nil])

    @Test("Waiting messages share a batch up to its limits")
    func batchLimits() {
        var sequence = sequence()
        sequence.append(entries(1...12))
        #expect(numbers(next(&sequence)) == [1, 2, 3, 4, 5])
        #expect(sequence.nextBatch(overhead: 0) == nil)
        #expect(numbers(sequence.completed(0, succeeded)) == [1, 2, 3, 4, 5])
        sequence.append(entries(13...13, bytes: 900))
        #expect(numbers(next(&sequence)) == [6, 7, 8, 9, 10])
        _ = sequence.completed(1, succeeded)
        #expect(numbers(next(&sequence)) == [11, 12])
        _ = sequence.completed(2, succeeded)
        #expect(numbers(next(&sequence)) == [13])
        _ = sequence.completed(3, succeeded)
        #expect(sequence.isEmpty && sequence.version == 4)
    }

    @Test("A batch contains each id once")
    func uniqueIDs() {
        var sequence = ProducerSequence(
            maximumBytes: 1_000, maximumOperations: 20, maximumBatchesInFlight: 1, minimumBatch: 1)
        var all = entries(1...3)
        for index in all.indices { all[index].id = ["a", "b", "a"][index] }
        sequence.append(all)
        #expect(numbers(next(&sequence)) == [1, 2])
        #expect(numbers(sequence.completed(0, succeeded)) == [1, 2])
        #expect(numbers(next(&sequence)) == [3])
    }

    @Test("Further batches need enough messages, and complete in order")
    func furtherBatches() {
        var sequence = sequence(batches: 3, minimum: 3)
        sequence.append(entries(1...1))
        #expect(sequence.nextBatch(overhead: 0)?.version == 0)
        sequence.append(entries(2...3))
        #expect(sequence.nextBatch(overhead: 0) == nil)
        sequence.append(entries(4...20))
        #expect(sequence.nextBatch(overhead: 0)?.version == 1 && sequence.nextBatch(overhead: 0)?.version == 2)
        #expect(sequence.nextBatch(overhead: 0) == nil)
        #expect(sequence.completed(1, succeeded).isEmpty && sequence.completed(2, succeeded).isEmpty)
        #expect(numbers(sequence.completed(0, succeeded)) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    }

    @Test("A stored batch proves that the batches before it are stored")
    func storedBatch() {
        // Of four batches, the second is stored and the third is refused. The other two have no reply.
        var sequence = sequence(batches: 4)
        sequence.append(entries(1...20))
        for _ in 0..<4 { _ = sequence.nextBatch(overhead: 0) }
        #expect(
            sequence.completed(0, unanswered).isEmpty && sequence.completed(1, succeeded).isEmpty
                && !sequence.allCompleted)
        #expect(sequence.completed(2, refused).isEmpty && sequence.completed(3, unanswered).isEmpty)
        #expect(sequence.isHalted && sequence.allCompleted && sequence.nextBatch(overhead: 0) == nil)
        let (stored, error) = sequence.reconcileBatches()
        #expect(numbers(stored) == Array(1...10) && error != nil && !sequence.isUnresolved && !sequence.isHalted)
        let next = sequence.nextBatch(overhead: 0)
        #expect(next?.version == 2 && numbers(next?.entries ?? []) == Array(11...15))
    }

    @Test("Unanswered batches are resolved one after the other")
    func unansweredBatches() {
        var sequence = sequence(batches: 3)
        sequence.append(entries(1...15))
        for _ in 0..<3 { _ = sequence.nextBatch(overhead: 0) }
        sequence.append(entries(16...16))
        _ = (sequence.completed(0, unanswered), sequence.completed(1, unanswered), sequence.completed(2, refused))
        _ = sequence.reconcileBatches()
        #expect(
            sequence.unresolved == 2 && sequence.firstUnresolved?.version == 0 && sequence.nextBatch(overhead: 0) == nil
        )
        let sixteenth = UnresolvedSend(number: 16)
        #expect(sequence.isWaiting(sixteenth) && !sequence.isWaiting(UnresolvedSend(number: 10)))
        sequence.withdraw(sixteenth, count: 1)
        #expect(numbers(sequence.firstIsStored()) == [1, 2, 3, 4, 5] && sequence.firstUnresolved?.version == 1)
        #expect(numbers(sequence.firstIsRefused()) == [6, 7, 8, 9, 10] && !sequence.isUnresolved)
        let next = sequence.nextBatch(overhead: 0)
        #expect(next?.version == 1 && numbers(next?.entries ?? []) == Array(11...15))
    }

    @Test("The batches after a refused one wait again")
    func refusedBatch() {
        var sequence = sequence(batches: 3)
        sequence.append(entries(1...15))
        for _ in 0..<3 { _ = sequence.nextBatch(overhead: 0) }
        _ = (sequence.completed(0, unanswered), sequence.completed(1, unanswered), sequence.completed(2, unanswered))
        _ = sequence.reconcileBatches()
        #expect(numbers(sequence.firstIsRefused()) == [1, 2, 3, 4, 5])
        #expect(numbers(sequence.removeWaiting()) == Array(6...15) && sequence.isEmpty && sequence.version == 0)
    }

    @Test("Unresolved batches can be abandoned")
    func abandonedBatches() {
        var sequence = sequence(batches: 2)
        sequence.append(entries(1...12))
        for _ in 0..<2 { _ = sequence.nextBatch(overhead: 0) }
        _ = (sequence.completed(0, unanswered), sequence.completed(1, unanswered))
        _ = sequence.reconcileBatches()
        #expect(numbers(sequence.abandonUnresolved()) == Array(1...10))
        #expect(sequence.nextBatch(overhead: 0).map { numbers($0.entries) } == [11, 12])
    }

    @Test("A withdrawn send is skipped, wherever it waits")
    func withdrawnSend() {
        var sequence = sequence(batches: 3, minimum: 4)
        sequence.append(entries(1...3))
        #expect(numbers(next(&sequence)) == [1, 2, 3])
        sequence.append(entries(4...12))
        for number: UInt64 in [4, 7, 12] { sequence.withdraw(UnresolvedSend(number: number), count: 1) }
        #expect(numbers(next(&sequence)) == [5, 6, 8, 9, 10])
        // One waiting message is too few for another batch, and the withdrawn one does not count.
        #expect(sequence.nextBatch(overhead: 0) == nil)
        _ = (sequence.completed(0, succeeded), sequence.completed(1, succeeded))
        #expect(numbers(next(&sequence)) == [11])
        _ = sequence.completed(2, succeeded)
        #expect(sequence.isEmpty)
    }

    @Test("A partly sent send does not wait, and withdrawing it skips no other send")
    func partlySentSend() {
        var sequence = sequence()
        let several = (0..<7).map {
            ProducerSequence.Entry(send: UnresolvedSend(number: 1), index: $0, priority: 100, data: [1], size: 74)
        }
        sequence.append(several)
        sequence.append(entries(2...3))
        #expect(sequence.isWaiting(UnresolvedSend(number: 1)))
        #expect(next(&sequence).map(\.index) == [0, 1, 2, 3, 4])
        #expect(!sequence.isWaiting(UnresolvedSend(number: 1)) && sequence.isWaiting(UnresolvedSend(number: 2)))
        // After the refusal, the whole send waits again.
        _ = sequence.completed(0, refused)
        _ = sequence.reconcileBatches()
        #expect(sequence.isWaiting(UnresolvedSend(number: 1)))
        sequence.withdraw(UnresolvedSend(number: 1), count: 7)
        #expect(numbers(next(&sequence)) == [2, 3])
    }

    @Test("A withdrawn send is not admitted, and does not block later sends")
    func withdrawnBeforeAdmission() {
        var sequence = sequence()
        sequence.isGated = true
        sequence.append(entries(1...6))
        for number: UInt64 in [2, 4] { sequence.withdraw(UnresolvedSend(number: number), count: 1) }
        var offered: [UInt64] = []
        sequence.admit { entries in
            offered += numbers(Array(entries))
            return offered.count < 4
        }
        #expect(offered == [1, 3, 5, 6])
        #expect(numbers(sequence.removeUnadmitted()) == [6] && !sequence.hasUnadmitted)
        #expect(numbers(next(&sequence)) == [1, 3, 5])
    }

    @Test("A partly stored send is admitted as a whole when a capacity is set")
    func partlyStoredSend() {
        var sequence = sequence()
        sequence.append(
            (0..<7).map {
                ProducerSequence.Entry(send: UnresolvedSend(number: 1), index: $0, priority: 100, data: [1], size: 74)
            })
        sequence.append(entries(2...2))
        #expect(next(&sequence).map(\.index) == [0, 1, 2, 3, 4])
        sequence.isGated = true
        _ = sequence.completed(0, succeeded)
        sequence.admit { _ in false }
        #expect(numbers(sequence.removeUnadmitted()) == [2])
        #expect(next(&sequence).map(\.index) == [5, 6])
    }

    @Test("Withdrawing many sends takes linear time")
    func manyWithdrawals() {
        func drain(withdrawing: Bool) -> Duration {
            var sequence = ProducerSequence(maximumBytes: 1_000_000, maximumOperations: 1_000)
            sequence.append(entries(1...50_000))
            let start = ContinuousClock.now
            if withdrawing {
                for number in stride(from: UInt64(1), through: 50_000, by: 2) {
                    sequence.withdraw(UnresolvedSend(number: number), count: 1)
                }
            }
            var sent = 0
            while let batch = sequence.nextBatch(overhead: 0) {
                sent += batch.entries.count
                _ = sequence.completed(batch.version, succeeded)
            }
            #expect(sent == (withdrawing ? 25_000 : 50_000) && sequence.isEmpty)
            return start.duration(to: .now)
        }
        // A scan of all waiting sends for each withdrawal would take about a thousand times as long.
        let (without, with) = (drain(withdrawing: false), drain(withdrawing: true))
        #expect(with < without * 20, "\(with) instead of \(without)")
    }

    @Test("A batch counts as stored only at a version that its producer can have written")
    func verdicts() {
        var sequence = sequence(batches: 3)
        sequence.append(entries(1...15))
        for version in Int32(0)..<2 {
            _ = sequence.nextBatch(overhead: 0)
            _ = sequence.completed(version, succeeded)
        }
        // Nothing is unresolved: only the expected version fits.
        #expect(sequence.version == 2)
        #expect([1, 2, 3].map { sequence.verdict(on: $0) } == [.behind, .fits, .ahead])
        sequence.append(entries(16...30))
        for _ in 0..<3 { _ = sequence.nextBatch(overhead: 0) }
        _ = (sequence.completed(2, unanswered), sequence.completed(3, unanswered), sequence.completed(4, refused))
        _ = sequence.reconcileBatches()
        #expect(sequence.unresolved == 2)
        #expect(
            (0...5).map { sequence.verdict(on: $0) } == [.behind, .behind, .fits, .stored, .stored, .ahead])
        // The first batch is stored, so the next one is judged by its own version.
        _ = sequence.firstIsStored()
        #expect((2...5).map { sequence.verdict(on: $0) } == [.behind, .fits, .stored, .ahead])
    }
}
