import Testing

@testable import ZooKeeperQueue

struct BatchPackerTests {
    private func names(_ count: Int, node: String?, in epoch: SequenceEpoch) -> [String?] {
        var names: [String?] = []
        BatchPacker.add(count, node: node, in: epoch, to: &names)
        return names
    }

    private func entries(_ priorities: [Int], bytes: Int = 10) -> [ProducerSequence.Entry] {
        priorities.enumerated().map { index, priority in
            ProducerSequence.Entry(
                send: UnresolvedSend(number: 1), index: index, priority: priority,
                data: .init(repeating: 1, count: bytes),
                size: bytes + 70)
        }
    }

    @Test("Neighbours of equal priority share a node")
    func equalPriorities() {
        let packer = BatchPacker(maximumBatchSize: 3, maximumBytes: 10_000)
        let groups = packer.nodes(entries([1, 1, 1, 1, 2, 1, 1]))
        #expect(groups.map { $0.map(\.index) } == [[0, 1, 2], [3], [4], [5, 6]])
        #expect(BatchPacker(maximumBytes: 10_000).nodes(entries([1, 1])).map(\.count) == [1, 1])
        #expect(packer.nodes([]).isEmpty)
    }

    @Test("A node is small enough for one multi to split it")
    func sizeLimit() {
        let packer = BatchPacker(maximumBatchSize: 1_000, maximumBytes: 1_000)
        for group in packer.nodes(entries(.init(repeating: 1, count: 50))) {
            #expect(group.reduce(0) { $0 + $1.size } <= 1_000)
        }
        // A message that is too long to share a node has one to itself.
        #expect(packer.nodes(entries([1, 1], bytes: 2_000)).map(\.count) == [1, 1])
    }

    @Test("Messages are named by their index in the node")
    func messageNames() {
        #expect(names(1, node: "item-100-0000000007", in: .init()) == ["item-100-0000000007"])
        #expect(
            names(2, node: "item-100-0000000007", in: .init())
                == ["item-100-0000000007-000", "item-100-0000000007-001"])
        #expect(names(2, node: nil, in: .init()) == [nil, nil])
    }
}
