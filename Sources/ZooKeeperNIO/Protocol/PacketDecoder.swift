/// A value type that splits a byte stream into packets.
struct PacketDecoder: Sendable {
    /// The maximum size of a response. A server limits requests, and so data, to a mebibyte by default
    /// (`jute.maxbuffer`), but not the size of a list of children: two million names of 60 bytes fit.
    static let maximumPacketSize: UInt32 = 128 << 20

    /// The bytes of a packet that has not arrived in full.
    private var partial: [UInt8] = []

    /// Calls `body` with each complete packet, and keeps the rest.
    mutating func receive(
        _ bytes: UnsafeRawBufferPointer,
        _ body: (UnsafeRawBufferPointer) throws(ProtocolError) -> Void
    ) throws(ProtocolError) {
        if partial.isEmpty {
            let consumed = try Self.packets(in: bytes, body)
            if consumed < bytes.count { partial.append(contentsOf: bytes[consumed...]) }
            return
        }
        partial.append(contentsOf: bytes)
        // Avoids rescanning a large packet that arrives in small pieces.
        guard let size = try Self.size(partial), partial.count >= size else { return }
        let complete = partial
        partial = []
        var thrown: ProtocolError?
        let consumed = complete.withUnsafeBytes { bytes -> Int in
            do throws(ProtocolError) {
                return try Self.packets(in: bytes, body)
            } catch {
                thrown = error
                return 0
            }
        }
        if let thrown { throw thrown }
        if consumed < complete.count { partial.append(contentsOf: complete[consumed...]) }
    }

    /// Calls `body` with each complete packet.
    ///
    /// - Returns: The number of bytes of these packets.
    private static func packets(
        in bytes: UnsafeRawBufferPointer,
        _ body: (UnsafeRawBufferPointer) throws(ProtocolError) -> Void
    ) throws(ProtocolError) -> Int {
        var start = 0
        while let size = try size(bytes[start...]), bytes.count - start >= size {
            try body(UnsafeRawBufferPointer(rebasing: bytes[start + 4..<start + size]))
            start += size
        }
        return start
    }

    /// Returns the size of the first packet with its length, once the length is there.
    private static func size(_ bytes: some Collection<UInt8>) throws(ProtocolError) -> Int? {
        guard bytes.count >= 4 else { return nil }
        let length = bytes.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        // A negative length is a large one here.
        guard length <= maximumPacketSize else { throw .packetTooLarge(length) }
        return Int(length) + 4
    }
}
