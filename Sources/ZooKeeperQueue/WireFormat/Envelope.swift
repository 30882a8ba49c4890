/// The format of a stored message that has more than a payload.
///
/// A message without headers and ID is stored as its bare bytes, so that any client can read it. The exceptions are an
/// empty payload, because an empty node is a message that is still being written, and a payload that begins with the
/// magic. The layout, with numbers in network order:
///
/// | offset | bytes | meaning |
/// |---|---|---|
/// | 0 | 4 | magic `8F 5A 4B 51`; no UTF-8 text begins with `8F` |
/// | 4 | 1 | version: 1 |
/// | 5 | 1 | kind: 1, one message (2 is a ``RecordBatch``, 3 a ``BatchSettlements``) |
/// | 6 | 4 | length L of the fields |
/// | 10 | L | fields, each: tag (1 byte), length N (4 bytes), N bytes |
/// | 10 + L | rest | payload |
///
/// Tag 1 is a header: the length of its name (2 bytes), its name and its value, both in UTF-8. Tag 128 is the
/// message's ID in UTF-8. A reader ignores an unknown tag from 128 on. An envelope with an unknown tag below 128
/// counts as one of an unknown kind.
struct Envelope: Sendable, Hashable {
    var headers: [String: String]
    var payload: [UInt8]
    var id: String?

    static let magic: [UInt8] = [0x8F, 0x5A, 0x4B, 0x51]
    static let version: UInt8 = 1
    private static let singleMessage: UInt8 = 1
    /// The number of bytes before the fields: magic, version, kind, and the length of the fields.
    static let headLength = 10
    private static let headerTag: UInt8 = 1
    private static let firstOptionalTag: UInt8 = 128
    private static let idTag: UInt8 = 128

    /// The result of decoding a node's data.
    enum Reading: Sendable, Hashable {
        case message(Envelope)
        /// Several messages in one node.
        case batch(RecordBatch)
        /// A well-formed envelope of a version or kind that this library does not know. The node must be left alone.
        case unknown
    }

    // MARK: Encoding

    /// Returns the node's data for the message.
    func encoded() -> [UInt8] {
        if headers.isEmpty, id == nil, !payload.isEmpty, !payload.starts(with: Self.magic) { return payload }
        var fields: [UInt8] = []
        for (name, value) in headers.sorted(by: { $0.key < $1.key }) {
            fields.append(Self.headerTag)
            fields.append(bigEndian: UInt32(2 + name.utf8.count + value.utf8.count))
            fields.append(bigEndian: UInt16(name.utf8.count))
            fields += name.utf8
            fields += value.utf8
        }
        if let id {
            fields.append(Self.idTag)
            fields.append(bigEndian: UInt32(id.utf8.count))
            fields += id.utf8
        }
        return Self.head(kind: Self.singleMessage, fieldsLength: fields.count) + fields + payload
    }

    /// Returns the beginning of an envelope of any kind.
    static func head(kind: UInt8, fieldsLength: Int = 0) -> [UInt8] {
        var bytes = magic + [version, kind]
        bytes.append(bigEndian: UInt32(fieldsLength))
        return bytes
    }

    /// Returns the bytes after the head of an envelope of a kind without fields; `nil` when
    /// the data is no such envelope.
    static func body(ofKind kind: UInt8, _ data: [UInt8]) -> ArraySlice<UInt8>? {
        guard data.count >= headLength, data.starts(with: head(kind: kind)) else { return nil }
        return data[headLength...]
    }

    /// Returns a message's data for writing it into `items` again. The data is never empty, because an empty node
    /// counts as a message that is still being written.
    static func restored(_ data: [UInt8]?) -> [UInt8] {
        guard let data, !data.isEmpty else { return Envelope(headers: [:], payload: []).encoded() }
        return data
    }

    /// The longest name of a header in bytes, because its length field has two bytes.
    static let maximumHeaderName = Int(UInt16.max)

    // MARK: Decoding

    /// Decodes any bytes. Data that is not a well-formed envelope is a bare payload, and never an error.
    static func read(_ data: [UInt8]) -> Reading {
        let bare = Reading.message(Envelope(headers: [:], payload: data))
        guard data.count >= headLength, data.starts(with: magic) else { return bare }
        if let batch = RecordBatch(data) { return .batch(batch) }
        let fieldsEnd = headLength + Int(UInt32(bigEndian: data[6..<10]))
        guard fieldsEnd <= data.count else { return bare }
        guard data[4] == version, data[5] == singleMessage else { return .unknown }
        var headers: [String: String] = [:]
        var id: String?
        var offset = headLength
        while offset < fieldsEnd {
            guard fieldsEnd - offset >= 5 else { return bare }
            let tag = data[offset]
            let start = offset + 5
            let length = Int(UInt32(bigEndian: data[(offset + 1)..<start]))
            guard length <= fieldsEnd - start else { return bare }
            offset = start + length
            if tag == headerTag {
                guard let header = header(data[start..<offset]) else { return bare }
                headers[header.name] = header.value
            } else if tag == idTag {
                guard let text = String(validating: data[start..<offset], as: UTF8.self) else { return bare }
                id = text
            } else if tag < firstOptionalTag {
                return .unknown
            }
        }
        return .message(Envelope(headers: headers, payload: Array(data[fieldsEnd...]), id: id))
    }

    private static func header(_ field: ArraySlice<UInt8>) -> (name: String, value: String)? {
        guard field.count >= 2 else { return nil }
        let nameLength = Int(UInt16(field[field.startIndex]) << 8 | UInt16(field[field.startIndex + 1]))
        let rest = field.dropFirst(2)
        guard nameLength <= rest.count, let name = String(validating: rest.prefix(nameLength), as: UTF8.self),
            let value = String(validating: rest.dropFirst(nameLength), as: UTF8.self)
        else { return nil }
        return (name, value)
    }
}
