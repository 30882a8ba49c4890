import Testing

@testable import ZooKeeperQueue

struct EnvelopeTests {
    @Test("Envelopes match the documented test vectors")
    func testVectors() {
        #expect(Envelope(headers: [:], payload: Array("hi".utf8)).encoded() == Array("hi".utf8))
        #expect(
            Envelope(headers: [:], payload: []).encoded() == [0x8F, 0x5A, 0x4B, 0x51, 1, 1, 0, 0, 0, 0])
        #expect(
            Envelope(headers: ["a": "bc"], payload: Array("hi".utf8)).encoded()
                == [0x8F, 0x5A, 0x4B, 0x51, 1, 1, 0, 0, 0, 10, 1, 0, 0, 0, 5, 0, 1, 0x61, 0x62, 0x63, 0x68, 0x69])
        #expect(
            Envelope(headers: [:], payload: Array("hi".utf8), id: "x").encoded()
                == [0x8F, 0x5A, 0x4B, 0x51, 1, 1, 0, 0, 0, 6, 128, 0, 0, 0, 1, 0x78, 0x68, 0x69])
        #expect(
            Envelope(headers: [:], payload: Array("hi".utf8), group: "g").encoded()
                == [0x8F, 0x5A, 0x4B, 0x51, 1, 1, 0, 0, 0, 6, 2, 0, 0, 0, 1, 0x67, 0x68, 0x69])
        #expect(
            Envelope(headers: ["a": "bc"], payload: Array("hi".utf8), id: "x", group: "g").encoded()
                == [0x8F, 0x5A, 0x4B, 0x51, 1, 1, 0, 0, 0, 22, 1, 0, 0, 0, 5, 0, 1, 0x61, 0x62, 0x63]
                + [2, 0, 0, 0, 1, 0x67, 128, 0, 0, 0, 1, 0x78, 0x68, 0x69])
        #expect(
            Envelope(headers: [:], payload: Array("hi".utf8), group: "g", groupNumber: 7).encoded()
                == [0x8F, 0x5A, 0x4B, 0x51, 1, 1, 0, 0, 0, 15, 2, 0, 0, 0, 1, 0x67]
                + [131, 0, 0, 0, 4, 0, 0, 0, 7, 0x68, 0x69])
        let time = EnsembleTime(millisecondsSince1970: 1_766_599_200_123)
        let bytesOfTime: [UInt8] = [0, 0, 1, 0x9B, 0x51, 0x84, 0x8D, 0x7B]
        #expect(
            Envelope(headers: [:], payload: Array("hi".utf8), expiresAt: time).encoded()
                == [0x8F, 0x5A, 0x4B, 0x51, 1, 1, 0, 0, 0, 13, 129, 0, 0, 0, 8] + bytesOfTime + [0x68, 0x69])
        let failure = DeliveryFailure(reason: "no", consumer: "c", failedAt: time)
        #expect(
            Envelope(headers: [:], payload: Array("hi".utf8), failures: [failure]).encoded()
                == [0x8F, 0x5A, 0x4B, 0x51, 1, 1, 0, 0, 0, 18, 130, 0, 0, 0, 13] + bytesOfTime
                + [0, 1, 0x63, 0x6E, 0x6F, 0x68, 0x69])
    }

    @Test(
        "An envelope is read back as it was written",
        arguments: [
            Envelope(headers: [:], payload: [1], id: "ü"), Envelope(headers: [:], payload: [], group: "ключ"),
            Envelope(headers: [:], payload: [1], group: "g", groupNumber: .min),
            Envelope(headers: ["a": "b"], payload: [], id: "x"),
            Envelope(headers: [:], payload: []), Envelope(headers: [:], payload: Envelope.magic),
            Envelope(headers: [:], payload: Envelope.magic + [1, 1, 0, 0, 0, 0]),
            Envelope(
                headers: ["a": "b"], payload: [1], id: "x", expiresAt: .init(millisecondsSince1970: -1),
                failures: [
                    .init(reason: "", consumer: "", failedAt: .init(millisecondsSince1970: .max)),
                    .init(reason: "é", consumer: "consumer-0000000001", failedAt: .init(millisecondsSince1970: 0)),
                ]),
            Envelope(headers: ["": "", "ключ": "値", "b": "c"], payload: [0, 1, 255]),
        ])
    func roundTrip(envelope: Envelope) {
        let bytes = envelope.encoded()
        #expect(!bytes.isEmpty)
        #expect(Envelope.read(bytes) == .message(envelope))
    }

    @Test(
        "Malformed data is read as a bare payload",
        arguments: [
            [], [0x8F], Envelope.magic, Envelope.magic + [1, 1, 0, 0, 0], Envelope.magic + [1, 1, 0, 0, 0, 1],
            Envelope.magic + [1, 1, 255, 255, 255, 255], Envelope.magic + [1, 1, 0, 0, 0, 4, 1, 0, 0, 0],
            Envelope.magic + [1, 1, 0, 0, 0, 5, 1, 0, 0, 0, 9], Envelope.magic + [1, 1, 0, 0, 0, 6, 1, 0, 0, 0, 1, 7],
            Envelope.magic + [1, 1, 0, 0, 0, 7, 1, 0, 0, 0, 2, 0, 9], Envelope.magic + [9, 1, 0, 0, 1, 0],
            Envelope.magic + [1, 1, 0, 0, 0, 8, 1, 0, 0, 0, 3, 0, 1, 0xFF],
        ] as [[UInt8]])
    func malformed(bytes: [UInt8]) {
        #expect(Envelope.read(bytes) == .message(Envelope(headers: [:], payload: bytes)))
    }

    @Test(
        "An unknown version, kind or required field makes an envelope unknown",
        arguments: [
            Envelope.magic + [2, 1, 0, 0, 0, 0], Envelope.magic + [1, 2, 0, 0, 0, 1, 5, 6],
            Envelope.magic + [1, 1, 0, 0, 0, 5, 127, 0, 0, 0, 0],
        ] as [[UInt8]])
    func unknownVersion(bytes: [UInt8]) { #expect(Envelope.read(bytes) == .unknown) }

    @Test("Unknown and invalid optional fields are skipped, and kept when the message is encoded again")
    func optionalFields() {
        for tag: UInt8 in [129, 130, 131, 255] {
            let field: [UInt8] = [tag, 0, 0, 0, 1, 42]
            let bytes = Envelope.magic + [1, 1, 0, 0, 0, 6] + field + [7]
            let envelope = Envelope(headers: [:], payload: [7], unknownFields: field)
            #expect(Envelope.read(bytes) == .message(envelope) && envelope.encoded() == bytes)
        }
    }

    @Test("Random bytes can be read, and a decoded envelope can be encoded again")
    func randomBytes() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            var bytes = Envelope.magic + [1, 1, 0, 0, 0]
            for _ in 0..<Int.random(in: 0...24, using: &generator) {
                bytes.append(.random(in: 0...12, using: &generator))
            }
            if case .message(let envelope) = Envelope.read(bytes), envelope.payload != bytes {
                // The encoder may choose another form, which must decode to the same envelope.
                #expect(Envelope.read(envelope.encoded()) == .message(envelope))
            }
        }
    }
}
