import ZooKeeper

/// Writes values in jute, ZooKeeper's encoding: big-endian numbers, and lengths of four bytes.
struct JuteWriter: Sendable {
    private(set) var bytes: [UInt8] = []

    mutating func write(_ value: Int32) { append(value) }
    mutating func write(_ value: Int64) { append(value) }
    mutating func write(_ value: Bool) { bytes.append(value ? 1 : 0) }

    private mutating func append(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    /// Writes a string. `nil` has the length -1.
    mutating func write(_ string: String?) {
        guard let string else { return write(Int32(-1)) }
        write(Int32(string.utf8.count))
        bytes.append(contentsOf: string.utf8)
    }

    /// Writes a buffer. `nil` has the length -1, and differs from an empty buffer.
    mutating func write(_ buffer: [UInt8]?) {
        guard let buffer else { return write(Int32(-1)) }
        write(Int32(buffer.count))
        bytes.append(contentsOf: buffer)
    }

    mutating func write<Element>(_ vector: [Element], _ element: (inout JuteWriter, Element) -> Void) {
        write(Int32(vector.count))
        for each in vector { element(&self, each) }
    }

    /// Writes a packet: its length, and what `body` writes.
    mutating func packet(_ body: (inout JuteWriter) -> Void) {
        let start = bytes.count
        write(Int32(0))
        body(&self)
        let length = UInt32(bytes.count - start - 4)
        for index in 0..<4 { bytes[start + index] = UInt8(truncatingIfNeeded: length >> (24 - 8 * UInt32(index))) }
    }

    /// Returns the written bytes, and starts again without any.
    mutating func take() -> [UInt8] {
        defer { bytes = [] }
        return bytes
    }
}
