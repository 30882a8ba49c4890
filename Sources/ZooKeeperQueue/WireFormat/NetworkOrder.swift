extension [UInt8] {
    /// Appends a number in network order.
    mutating func append<T: FixedWidthInteger>(bigEndian value: T) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}

extension FixedWidthInteger {
    /// Creates a number from its bytes in network order.
    init(bigEndian bytes: ArraySlice<UInt8>) { self = bytes.reduce(0) { $0 << 8 | Self($1) } }
}

extension ArraySlice<UInt8> {
    /// Removes a number in network order from the front. Returns `nil` when there are too few bytes.
    mutating func takeNumber<T: FixedWidthInteger>(_ type: T.Type) -> T? {
        take(T.bitWidth / 8).map { T(bigEndian: $0) }
    }

    /// Removes `count` bytes from the front. Returns `nil` when there are fewer.
    mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count <= self.count else { return nil }
        defer { removeFirst(count) }
        return prefix(count)
    }
}
