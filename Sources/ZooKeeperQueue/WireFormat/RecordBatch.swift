/// Several messages in one node: an envelope of kind 2 without fields.
///
/// After the head come the number of messages (2 bytes, 1…900) and, for each message, its length (4 bytes, at least 1)
/// and the bytes that its own node would have. A message's index is its position, from 0. The number is limited because
/// a batch must be split with one multi.
struct RecordBatch: Sendable, Hashable {
    private(set) var records: [[UInt8]]

    private static let kind: UInt8 = 2
    /// The most messages in a batch. Their creates must fit into one multi of 1,000 operations.
    static let maximumCount = 900
    /// The bytes that a message adds to the node besides its own.
    static let overheadPerRecord = 4

    init(records: [[UInt8]]) { self.records = records }

    /// Decodes a node's data. Returns `nil` when it is not a well-formed batch.
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

    /// Returns the node's data.
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
