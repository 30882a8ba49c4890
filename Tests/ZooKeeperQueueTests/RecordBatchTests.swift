import Testing

@testable import ZooKeeperQueue

struct RecordBatchTests {
    private let vector: [UInt8] =
        [0x8F, 0x5A, 0x4B, 0x51, 1, 2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2] + "hi".utf8 + [0, 0, 0, 3] + "you".utf8

    @Test("A batch matches the documented test vector")
    func testVector() {
        let batch = RecordBatch(records: [Array("hi".utf8), Array("you".utf8)])
        #expect(batch.encoded() == vector)
        #expect(Envelope.read(vector) == .batch(batch))
    }

    @Test("A damaged batch is unknown as a whole")
    func damagedBatch() {
        // If a part were delivered, the rest would be lost.
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

    @Test("Random bytes can be read, and a decoded batch encodes to the same bytes")
    func randomBytes() {
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

    @Test("Settlements are read back as they were written")
    func settlementsRoundTrip() {
        var settlements = BatchSettlements()
        #expect(settlements.encoded().isEmpty)
        #expect(settlements.settle(0, of: "item-100-0000000042") == 1)
        #expect(settlements.settle(9, of: "item-100-0000000042") == 2)
        #expect(settlements.settle(9, of: "item-100-0000000042") == 2)
        let bytes: [UInt8] =
            [0x8F, 0x5A, 0x4B, 0x51, 1, 3, 0, 0, 0, 0, 0, 19] + "item-100-0000000042".utf8 + [0, 2, 0x80, 0x40]
        #expect(settlements.encoded() == bytes && BatchSettlements(bytes) == settlements)
        #expect(
            settlements.isSettled(9, of: "item-100-0000000042") && !settlements.isSettled(1, of: "item-100-0000000042"))
        #expect(!settlements.isSettled(9, of: "item-100-0000000043"))
        _ = settlements.settle(999, of: "other")
        #expect(BatchSettlements(settlements.encoded()) == settlements)
    }

    @Test(
        "Other data settles no message",
        arguments: [nil, [], [1, 2, 3], Array("text".utf8), Envelope.magic + [1, 3, 0, 0, 0, 0, 0, 9]] as [[UInt8]?])
    func otherData(data: [UInt8]?) { #expect(BatchSettlements(data) == BatchSettlements()) }
}
