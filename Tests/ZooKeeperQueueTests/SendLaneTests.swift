import Testing
import ZooKeeper

@testable import ZooKeeperQueue

struct SendLaneTests {
    private func entries(_ numbers: ClosedRange<Int>, bytes: Int = 10) -> [SendLane.Entry] {
        numbers.map {
            SendLane.Entry(
                send: SendID(number: UInt64($0)), index: 0,
                priority: 100, data: .init(repeating: 1, count: bytes), size: bytes + 73, deadline: .zero)
        }
    }

    private func numbers(_ entries: [SendLane.Entry]) -> [UInt64] { entries.map(\.send.number) }

    @Test func whatGathersGoesTogetherUpToTheLimits() {
        var lane = SendLane(maximumBytes: 1_000, maximumOperations: 5)
        lane.append(entries(1...12))
        #expect(numbers(lane.nextBatch(overhead: 0)) == [1, 2, 3, 4, 5])
        #expect(numbers(lane.stored()) == [1, 2, 3, 4, 5])
        lane.append(entries(13...13, bytes: 900))
        #expect(numbers(lane.nextBatch(overhead: 0)).count == 5)
        _ = lane.stored()
        #expect(numbers(lane.nextBatch(overhead: 0)) == [11, 12])
        _ = lane.stored()
        #expect(numbers(lane.nextBatch(overhead: 0)) == [13])
        _ = lane.stored()
        #expect(lane.isEmpty && lane.version == 4)
    }

    @Test func anUnansweredBatchStaysAsItIsAndBlocksTheRest() {
        var lane = SendLane(maximumBytes: 1_000, maximumOperations: 5)
        lane.append(entries(1...2))
        _ = lane.nextBatch(overhead: 0)
        lane.unanswered()
        lane.append(entries(3...4))
        #expect(numbers(lane.nextBatch(overhead: 0)) == [1, 2])
        lane.postponed()
        #expect(numbers(lane.nextBatch(overhead: 0)) == [1, 2] && lane.version == 0)
        #expect(numbers(lane.removeWaiting { _ in true }) == [3, 4])
        #expect(numbers(lane.stored()) == [1, 2] && lane.version == 1 && !lane.isBatchUnresolved)
    }

    @Test func aPostponedBatchKeepsItsPlace() {
        var lane = SendLane(maximumBytes: 1_000, maximumOperations: 5)
        lane.append(entries(1...2))
        _ = lane.nextBatch(overhead: 0)
        lane.append(entries(3...3))
        lane.postponed()
        #expect(numbers(lane.nextBatch(overhead: 0)) == [1, 2, 3])
        #expect(numbers(lane.refused()) == [1, 2, 3] && lane.version == 0)
    }
}
