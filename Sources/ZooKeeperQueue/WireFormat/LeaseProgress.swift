/// Which messages of its leased batches a consumer has settled: the data of its node, an envelope of kind 3 without fields.
///
/// A batch's own node is not written again for each message, which would write all the others with it. Behind the head,
/// for each batch of which some messages are settled: the length of its name (2 bytes), the name, the number of bytes that
/// follow (2 bytes), and a bit for each message, the first one the highest of the first byte; 1 is settled. A consumer's
/// node with other data has settled none.
struct LeaseProgress: Sendable, Hashable {
    /// The indexes of the settled messages by the names of the batches.
    private(set) var settled: [String: Set<Int>] = [:]

    private static let kind: UInt8 = 3

    init() {}

    /// Reads a consumer's data.
    init(_ data: [UInt8]?) {
        guard let data, var rest = Envelope.body(ofKind: Self.kind, data) else { return }
        var found: [String: Set<Int>] = [:]
        while !rest.isEmpty {
            guard let nameLength = rest.takeNumber(UInt16.self),
                let name = rest.take(Int(nameLength)).flatMap({ String(validating: $0, as: UTF8.self) }),
                let length = rest.takeNumber(UInt16.self), let bits = rest.take(Int(length))
            else { return }
            for (place, byte) in bits.enumerated() {
                for bit in 0..<8 where byte & (0x80 >> bit) != 0 { found[name, default: []].insert(place * 8 + bit) }
            }
        }
        settled = found
    }

    /// The consumer's data; nothing when there is nothing to say.
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

    /// The message is settled.
    ///
    /// - Returns: how many of its batch are.
    mutating func settle(_ index: Int, of batch: String) -> Int {
        settled[batch, default: []].insert(index)
        return settled[batch]?.count ?? 0
    }

    /// The batch's node is gone.
    mutating func forget(_ batch: String) { settled[batch] = nil }

    /// Whether the message is settled.
    func isSettled(_ index: Int, of batch: String) -> Bool { settled[batch]?.contains(index) ?? false }
}
