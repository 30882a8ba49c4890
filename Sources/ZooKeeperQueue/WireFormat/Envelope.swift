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
/// Tag 1 is a header: the length of its name (2 bytes), its name and its value, both in UTF-8. Tag 2 is the key of the
/// message's group in UTF-8. Tag 128 is the message's ID in UTF-8. Tag 129 is the time from which on the message is
/// expired, in milliseconds since 1970 (8 bytes). Tag 130 is a ``DeliveryFailure``; of several, the last ten count. Tag
/// 131 is the message's sequence number in its group (4 bytes), and tag 132 the key of a group that the message has
/// left. A reader ignores an unknown tag from 128 on. An envelope with an unknown tag below 128 counts as one of an
/// unknown kind.
struct Envelope: Sendable, Hashable {
    var headers: [String: String]
    var payload: [UInt8]
    var id: String?
    /// The key of the message's group.
    var group: String?
    /// The message's sequence number in its group, before it became the head. The next message most likely has the next
    /// number, so it need not be searched for.
    var groupNumber: Int32?
    var expiresAt: EnsembleTime?
    var failures: [DeliveryFailure] = []
    /// The key of the group that the message has left, because the group goes on while the message waits for a retry.
    var formerGroup: String?
    /// The optional fields of later releases, with their tags and lengths. A message that is stored again keeps them.
    var unknownFields: [UInt8] = []

    static let magic: [UInt8] = [0x8F, 0x5A, 0x4B, 0x51]
    static let version: UInt8 = 1
    private static let singleMessage: UInt8 = 1
    /// The number of bytes before the fields: magic, version, kind, and the length of the fields.
    static let headLength = 10
    private static let headerTag: UInt8 = 1
    /// Mandatory, because a client that does not know groups would remove the head without moving the next message.
    private static let groupTag: UInt8 = 2
    private static let firstOptionalTag: UInt8 = 128
    private static let idTag: UInt8 = 128
    private static let expiryTag: UInt8 = 129
    private static let failureTag: UInt8 = 130
    private static let groupNumberTag: UInt8 = 131
    private static let formerGroupTag: UInt8 = 132

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
        let isBare =
            headers.isEmpty && id == nil && group == nil && groupNumber == nil && expiresAt == nil
            && failures.isEmpty && formerGroup == nil && unknownFields.isEmpty
        if isBare, !payload.isEmpty, !payload.starts(with: Self.magic) { return payload }
        var fields: [UInt8] = []
        func append(_ tag: UInt8, _ bytes: some Collection<UInt8>) {
            fields.append(tag)
            fields.append(bigEndian: UInt32(bytes.count))
            fields += bytes
        }
        // The first field, because a producer fills the time in later.
        if let expiresAt { append(Self.expiryTag, Self.encoded(expiresAt)) }
        for (name, value) in headers.sorted(by: { $0.key < $1.key }) {
            fields.append(Self.headerTag)
            fields.append(bigEndian: UInt32(2 + name.utf8.count + value.utf8.count))
            fields.append(bigEndian: UInt16(name.utf8.count))
            fields += name.utf8
            fields += value.utf8
        }
        if let group { append(Self.groupTag, group.utf8) }
        if let id { append(Self.idTag, id.utf8) }
        for failure in failures { append(Self.failureTag, failure.encoded) }
        if let groupNumber {
            var bytes: [UInt8] = []
            bytes.append(bigEndian: groupNumber)
            append(Self.groupNumberTag, bytes)
        }
        if let formerGroup { append(Self.formerGroupTag, formerGroup.utf8) }
        fields += unknownFields
        return Self.head(kind: Self.singleMessage, fieldsLength: fields.count) + fields + payload
    }

    private static func encoded(_ time: EnsembleTime) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(bigEndian: time.millisecondsSince1970)
        return bytes
    }

    /// Changes the time at which a message expires, in the data of an envelope that has one.
    static func setExpiry(_ time: EnsembleTime, in data: inout [UInt8]) {
        let start = headLength + 5
        guard data.count >= start + 8, data[headLength] == expiryTag else { return }
        data.replaceSubrange(start..<start + 8, with: encoded(time))
    }

    /// Returns the time at which a message expires, from the data of an envelope that has one.
    static func expiry(in data: [UInt8]) -> EnsembleTime? {
        let start = headLength + 5
        guard data.count >= start + 8, data.starts(with: magic), data[headLength] == expiryTag else { return nil }
        return EnsembleTime(millisecondsSince1970: Int64(bigEndian: data[start..<start + 8]))
    }

    /// Returns the data of the message with one more failed delivery. Drops older failures, or all, when the data would
    /// be too long.
    ///
    /// - Returns: `nil` when the data would be too long in any case.
    func encoded(adding failure: DeliveryFailure, limit: Int) -> [UInt8]? {
        var envelope = self
        envelope.failures = Array((failures + [failure]).suffix(DeliveryFailure.maximumCount))
        while !envelope.failures.isEmpty {
            let data = envelope.encoded()
            if data.count <= limit { return data }
            envelope.failures.removeFirst()
        }
        return nil
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

    /// Returns a dead letter's data for writing it into `items` again: without its expiry, which may have made it a
    /// dead letter, and without its number in a group that has gone on.
    static func redriven(_ data: [UInt8]?) -> [UInt8] {
        guard let data, case .message(var envelope) = read(data),
            envelope.expiresAt != nil || envelope.groupNumber != nil
        else {
            return restored(data)
        }
        (envelope.expiresAt, envelope.groupNumber) = (nil, nil)
        return envelope.encoded()
    }

    /// The key with which the message was sent, also after it has left its group.
    var sentGroup: String? { group ?? formerGroup }

    /// The message without its group, which goes on.
    var outsideGroup: Envelope {
        var envelope = self
        (envelope.formerGroup, envelope.group, envelope.groupNumber) = (sentGroup, nil, nil)
        return envelope
    }

    /// Returns the data of a message that becomes the head of its group, with its number among the followers.
    static func promoted(_ data: [UInt8]?, in group: GroupKey, number: Int32) -> [UInt8] {
        guard case .message(var envelope) = read(data ?? []) else { return restored(data) }
        // Another client may have stored it without the key, and then nothing would follow it.
        (envelope.group, envelope.groupNumber) = (group.key, number)
        return envelope.encoded()
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
        var envelope = Envelope(headers: [:], payload: [])
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
                envelope.headers[header.name] = header.value
            } else if tag == groupTag {
                guard let text = String(validating: data[start..<offset], as: UTF8.self) else { return bare }
                envelope.group = text
            } else if tag == idTag {
                guard let text = String(validating: data[start..<offset], as: UTF8.self) else { return bare }
                envelope.id = text
            } else if tag == expiryTag, length == 8 {
                envelope.expiresAt = EnsembleTime(millisecondsSince1970: Int64(bigEndian: data[start..<offset]))
            } else if tag == groupNumberTag, length == 4 {
                envelope.groupNumber = Int32(bigEndian: data[start..<offset])
            } else if tag == formerGroupTag, let text = String(validating: data[start..<offset], as: UTF8.self) {
                envelope.formerGroup = text
            } else if tag == failureTag, let failure = DeliveryFailure(data[start..<offset]) {
                envelope.failures.append(failure)
                if envelope.failures.count > DeliveryFailure.maximumCount { envelope.failures.removeFirst() }
            } else if tag < firstOptionalTag {
                return .unknown
            } else {
                envelope.unknownFields += data[(start - 5)..<offset]
            }
        }
        envelope.payload = Array(data[fieldsEnd...])
        return .message(envelope)
    }

    /// Returns the group of the message in a node's data; `nil` when it has none.
    static func group(in data: [UInt8]) -> GroupKey? {
        guard case .message(let envelope) = read(data) else { return nil }
        return envelope.group.flatMap { GroupKey($0) }
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
