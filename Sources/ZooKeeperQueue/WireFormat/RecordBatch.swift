/// Several messages in one node: an envelope of kind 2 without fields.
///
/// Behind the head: the number of messages (2 bytes, 1…900: a batch comes apart in one multi), then for each its length (4 bytes, at
/// least 1) and the bytes that its node would have if it stood alone. A message's index is its place, from 0.
struct RecordBatch: Sendable, Hashable {
    private(set) var records: [[UInt8]]

    private static let kind: UInt8 = 2
    /// The most messages: their creates must fit into one multi of 1,000 operations.
    static let maximumCount = 900
    /// What a message adds to the node beside its own bytes.
    static let overheadPerRecord = 4

    init(records: [[UInt8]]) { self.records = records }

    /// Reads a node's data; `nil` when it is no well-formed batch.
    init?(_ data: [UInt8]) {
        guard var rest = Envelope.body(ofKind: Self.kind, data), let count = rest.takeNumber(UInt16.self),
            (1...Self.maximumCount).contains(Int(count))
        else { return nil }
        records = []
        records.reserveCapacity(Int(count))
        for _ in 0..<count {
            guard let length = rest.takeNumber(UInt32.self), length > 0, let record = rest.take(Int(length)) else {
                return nil
            }
            records.append(Array(record))
        }
        guard rest.isEmpty else { return nil }
    }

    /// The node's data.
    func encoded() -> [UInt8] {
        var bytes = Envelope.head(kind: Self.kind)
        bytes.reserveCapacity(records.reduce(bytes.count + 2) { $0 + $1.count + Self.overheadPerRecord })
        bytes.append(bigEndian: UInt16(records.count))
        for record in records {
            bytes.append(bigEndian: UInt32(record.count))
            bytes += record
        }
        return bytes
    }
}
