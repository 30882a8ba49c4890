/// A string that is compared, hashed and ordered by its UTF-8 bytes.
///
/// Swift's `String` treats `é` and `e` followed by U+0301 as equal, because they are canonically equivalent. To ZooKeeper they
/// are two names, because it compares bytes. Use this type wherever a path, a name or an id is a key.
package struct ExactString: Sendable, Hashable, Comparable, ExpressibleByStringLiteral {
    /// The string.
    package let string: String

    /// Wraps a string.
    package init(_ string: String) { self.string = string }

    /// Wraps a literal.
    package init(stringLiteral value: String) { self.init(value) }

    /// Compares the bytes.
    package static func == (a: Self, b: Self) -> Bool { a.string.isIdentical(to: b.string) }

    /// Orders by the bytes, which is the order of the code points.
    package static func < (a: Self, b: Self) -> Bool { a.string.utf8.lexicographicallyPrecedes(b.string.utf8) }

    /// Hashes the bytes.
    package func hash(into hasher: inout Hasher) {
        let isDone: Void? = string.utf8.withContiguousStorageIfAvailable {
            hasher.combine(bytes: UnsafeRawBufferPointer($0))
        }
        if isDone == nil { for byte in string.utf8 { hasher.combine(byte) } }
        // No byte of UTF-8: the strings of a composite key cannot run into each other.
        hasher.combine(0xFF as UInt8)
    }
}

extension ExactString: CustomStringConvertible {
    /// The string.
    package var description: String { string }
}

extension StringProtocol {
    /// Whether both have the same UTF-8 bytes, which is more than `==` asks for.
    package func isIdentical(to other: some StringProtocol) -> Bool {
        let contiguous = utf8.withContiguousStorageIfAvailable { a in
            other.utf8.withContiguousStorageIfAvailable { b in a.count == b.count && a.elementsEqual(b) }
        }
        return (contiguous ?? nil) ?? utf8.elementsEqual(other.utf8)
    }
}
