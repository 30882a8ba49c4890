import ZooKeeper

/// Reads values in jute, ZooKeeper's encoding. Every byte is hostile: a length is compared with what is left before
/// anything is read or allocated.
struct JuteReader {
    /// The bytes that are not read yet. They are valid only during the call that passes them on.
    private var rest: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

    /// The number of bytes that are not read yet.
    var remaining: Int { rest.count }

    mutating func int32() throws(ProtocolError) -> Int32 { try number() }
    mutating func int64() throws(ProtocolError) -> Int64 { try number() }
    mutating func bool() throws(ProtocolError) -> Bool { try take(1)[0] != 0 }

    private mutating func number<Number: FixedWidthInteger>() throws(ProtocolError) -> Number {
        Number(bigEndian: try take(MemoryLayout<Number>.size).loadUnaligned(as: Number.self))
    }

    /// Reads a buffer. `nil` has the length -1.
    mutating func buffer() throws(ProtocolError) -> [UInt8]? {
        guard let length = try length() else { return nil }
        return [UInt8](try take(length))
    }

    /// Reads a string. Bytes that are not valid UTF-8 are replaced. A missing string is empty.
    mutating func string() throws(ProtocolError) -> String {
        guard let length = try length() else { return "" }
        return String(decoding: try take(length), as: UTF8.self)
    }

    /// Reads a vector, whose elements take at least the given number of bytes each.
    mutating func vector<Element>(
        minimumSize: Int, _ element: (inout JuteReader) throws(ProtocolError) -> Element
    ) throws(ProtocolError) -> [Element] {
        guard let count = try length() else { return [] }
        guard count <= rest.count / minimumSize else { throw .truncated }
        var elements: [Element] = []
        elements.reserveCapacity(count)
        for _ in 0..<count { elements.append(try element(&self)) }
        return elements
    }

    /// Throws when bytes are left.
    func end() throws(ProtocolError) {
        if rest.count > 0 { throw .trailingBytes(rest.count) }
    }

    private mutating func length() throws(ProtocolError) -> Int? {
        let length = try int32()
        if length == -1 { return nil }
        guard length >= 0 else { throw .negativeLength(length) }
        return Int(length)
    }

    private mutating func take(_ count: Int) throws(ProtocolError) -> UnsafeRawBufferPointer {
        guard count <= rest.count else { throw .truncated }
        defer { rest = UnsafeRawBufferPointer(rebasing: rest[count...]) }
        return UnsafeRawBufferPointer(rebasing: rest[..<count])
    }
}

/// Why the bytes of a server cannot be understood. The connection then ends, because what follows cannot be trusted.
package enum ProtocolError: Error, Hashable {
    /// A value extends past the end of its packet.
    case truncated
    case negativeLength(Int32)
    /// Bytes follow the last value of a packet.
    case trailingBytes(Int)
    /// A packet is larger than any response. `HTTP` and the first bytes of TLS look like this.
    case packetTooLarge(UInt32)
    /// A response that belongs to no request, or not to the oldest one.
    case unexpectedXID(Int32)
    /// A result of a multi with another type than its operation.
    case unexpectedResult(Int32)
    /// A server has continued another session than it was asked for.
    case anotherSession(Int64)
    /// A response names an older transaction than the response before it.
    case zxidWentBack(Int64)
}

extension ProtocolError {
    /// Whether the response to the oldest request is invalid, and not the order of responses.
    var concernsOneResponse: Bool {
        switch self {
        case .truncated, .negativeLength, .trailingBytes, .packetTooLarge, .unexpectedResult: true
        case .unexpectedXID, .anotherSession, .zxidWentBack: false
        }
    }
}

extension ProtocolError: CustomStringConvertible {
    private static let remedy = "Look for what changes responses on their way, and use TLS."

    package var description: String {
        switch self {
        case .truncated: "A response ends in the middle of a value. \(Self.remedy)"
        case .negativeLength(let length): "A response contains the invalid length \(length). \(Self.remedy)"
        case .trailingBytes(let count): "A response has \(count) unexpected bytes at its end. \(Self.remedy)"
        case .packetTooLarge(let size):
            "A response claims to have \(size) bytes. Check that the address is that of a ZooKeeper server, and that "
                + "both sides use TLS or neither does."
        case .unexpectedXID(let xid):
            "A response has the xid \(xid), and the oldest request has another one. \(Self.remedy)"
        case .anotherSession(let number):
            "The server has continued the session 0x\(String(number, radix: 16)), which is not the client's."
        case .zxidWentBack(let zxid): "A response has the zxid \(zxid), which is older than that of an earlier one."
        case .unexpectedResult(let type):
            "A multi result has the type \(type), which does not match its operation. \(Self.remedy)"
        }
    }
}
