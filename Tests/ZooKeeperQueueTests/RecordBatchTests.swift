import Testing

@testable import ZooKeeperQueue

struct RecordBatchTests {
    private let vector: [UInt8] =
        [0x8F, 0x5A, 0x4B, 0x51, 1, 2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2] + "hi".utf8 + [0, 0, 0, 3] + "you".utf8

    /// The test vector of the wire format's documentation.
    @Test func theVectorHolds() {
        let batch = RecordBatch(records: [Array("hi".utf8), Array("you".utf8)])
        #expect(batch.encoded() == vector)
        #expect(Envelope.read(vector) == .batch(batch))
    }

    /// No message of a batch that cannot be read as a whole is delivered, and none is lost.
    @Test func whatIsCutOffOrTooLongIsLeftAlone() {
        for length in Envelope.headLength..<vector.count {
            #expect(Envelope.read(Array(vector.prefix(length))) == .unknown)
        }
        #expect(Envelope.read(vector + [0]) == .unknown)
        var none = vector
        none[11] = 0
        #expect(Envelope.read(none) == .unknown)
        var empty = vector
        empty[15] = 0
        #expect(Envelope.read(empty) == .unknown)
    }

    @Test func anyBytesAreReadWithoutATrap() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            var bytes = vector
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 6..<bytes.count, using: &generator)] = .random(in: 0...255, using: &generator)
            }
            if case .batch(let batch) = Envelope.read(bytes) { #expect(batch.encoded() == bytes) }
            _ = BatchSettlements(bytes)
        }
    }

    @Test func progressIsReadAsItWasWritten() {
        var progress = BatchSettlements()
        #expect(progress.encoded().isEmpty)
        #expect(progress.settle(0, of: "item-100-0000000042") == 1)
        #expect(progress.settle(9, of: "item-100-0000000042") == 2)
        #expect(progress.settle(9, of: "item-100-0000000042") == 2)
        let bytes: [UInt8] =
            [0x8F, 0x5A, 0x4B, 0x51, 1, 3, 0, 0, 0, 0, 0, 19] + "item-100-0000000042".utf8 + [0, 2, 0x80, 0x40]
        #expect(progress.encoded() == bytes && BatchSettlements(bytes) == progress)
        #expect(progress.isSettled(9, of: "item-100-0000000042") && !progress.isSettled(1, of: "item-100-0000000042"))
        #expect(!progress.isSettled(9, of: "item-100-0000000043"))
        _ = progress.settle(999, of: "other")
        #expect(BatchSettlements(progress.encoded()) == progress)
    }

    @Test(
        arguments: [nil, [], [1, 2, 3], Array("text".utf8), Envelope.magic + [1, 3, 0, 0, 0, 0, 0, 9]] as [[UInt8]?])
    func otherDataSettlesNothing(data: [UInt8]?) { #expect(BatchSettlements(data) == BatchSettlements()) }
}

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

    @Test func neighboursOfOnePriorityShareANode() {
        let packer = BatchPacker(maximumBatchSize: 3, maximumBytes: 10_000)
        let groups = packer.groups(entries([1, 1, 1, 1, 2, 1, 1]))
        #expect(groups.map { $0.map(\.index) } == [[0, 1, 2], [3], [4], [5, 6]])
        #expect(BatchPacker(maximumBytes: 10_000).groups(entries([1, 1])).map(\.count) == [1, 1])
        #expect(packer.groups([]).isEmpty)
    }

    @Test func aBatchCanComeApartInOneMulti() {
        let packer = BatchPacker(maximumBatchSize: 1_000, maximumBytes: 1_000)
        for group in packer.groups(entries(.init(repeating: 1, count: 50))) {
            #expect(group.reduce(0) { $0 + $1.size } <= 1_000)
        }
        // One that is too long for company stands alone.
        #expect(packer.groups(entries([1, 1], bytes: 2_000)).map(\.count) == [1, 1])
    }

    @Test func messagesAreNamedByTheirPlace() {
        #expect(names(1, node: "item-100-0000000007", in: .init()) == ["item-100-0000000007"])
        #expect(
            names(2, node: "item-100-0000000007", in: .init())
                == ["item-100-0000000007-000", "item-100-0000000007-001"])
        #expect(names(2, node: nil, in: .init()) == [nil, nil])
    }
}
