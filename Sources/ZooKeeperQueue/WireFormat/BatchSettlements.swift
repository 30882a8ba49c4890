/// Which messages of its leased batches a consumer has settled: the data of its node, an
/// envelope of kind 3 without fields.
///
/// Settling a message does not rewrite the batch's own node, because that would write all other messages again. After
/// the head, each batch with settled messages has: the length of its name (2 bytes), the name, the number of the
/// following bytes (2 bytes), and a bit for each message. The first message is the highest bit of the first byte, and 1
/// means settled. Other data in a consumer's node means that nothing is settled.
struct BatchSettlements: Sendable, Hashable {
    /// The indices of the settled messages, by the names of the batches.
    private(set) var settled: [String: Set<Int>] = [:]

    private static let kind: UInt8 = 3

    init() {}

    /// Decodes the data of a consumer's node.
    init(_ data: [UInt8]?) {
        guard let data, var rest = Envelope.body(ofKind: Self.kind, data) else { return }
        var found: [String: Set<Int>] = [:]
        while !rest.isEmpty {
            guard let nameLength = rest.takeNumber(UInt16.self),
                let name = rest.take(Int(nameLength)).flatMap({ String(validating: $0, as: UTF8.self) }),
                let length = rest.takeNumber(UInt16.self), let bits = rest.take(Int(length))
            else { return }
            for (byteIndex, byte) in bits.enumerated() {
                for bit in 0..<8 where byte & (0x80 >> bit) != 0 {
                    found[name, default: []].insert(byteIndex * 8 + bit)
                }
            }
        }
        settled = found
    }

    /// Returns the data of the consumer's node; empty when no batch is partly settled.
    func encoded() -> [UInt8] {
        guard !settled.isEmpty else { return [] }
        var bytes = Envelope.head(kind: Self.kind)
        for (name, indexes) in settled.sorted(by: { $0.key < $1.key }) {
            var bits = [UInt8](repeating: 0, count: (indexes.max() ?? 0) / 8 + 1)
            for index in indexes { bits[index / 8] |= 0x80 >> (index % 8) }
            bytes.append(bigEndian: UInt16(name.utf8.count))
            bytes += name.utf8
            bytes.append(bigEndian: UInt16(bits.count))
            bytes += bits
        }
        return bytes
    }

    /// Records that a message is settled.
    ///
    /// - Returns: how many messages of its batch are settled.
    mutating func settle(_ index: Int, of batch: String) -> Int {
        settled[batch, default: []].insert(index)
        return settled[batch]?.count ?? 0
    }

    /// Forgets a batch whose node is gone.
    mutating func forget(_ batch: String) { settled[batch] = nil }

    /// Whether the message is settled.
    func isSettled(_ index: Int, of batch: String) -> Bool { settled[batch]?.contains(index) ?? false }
}
