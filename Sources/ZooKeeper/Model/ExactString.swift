#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A string that is compared, hashed and ordered by its UTF-8 bytes.
///
/// Swift's `String` treats `é` and `e` followed by U+0301 as equal, because they are canonically equivalent. For
/// ZooKeeper they are two names, because it compares bytes. Use this type wherever a path, a name or an id is a key.
package struct ExactString: Sendable, Hashable, Comparable, ExpressibleByStringLiteral {
    /// The wrapped string.
    package let string: String

    /// Wraps a string.
    package init(_ string: String) { self.string = string }

    /// Wraps a string literal.
    package init(stringLiteral value: String) { self.init(value) }

    /// Compares the bytes.
    package static func == (a: Self, b: Self) -> Bool {
        a.string.utf8.count == b.string.utf8.count && order(a, b) == 0
    }

    /// Orders by the bytes, which is also the order of the code points.
    package static func < (a: Self, b: Self) -> Bool { order(a, b) < 0 }

    /// Hashes the bytes.
    package func hash(into hasher: inout Hasher) {
        var string = string
        string.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        // The byte 0xFF never occurs in UTF-8, so the strings of a composite key stay separate.
        hasher.combine(0xFF as UInt8)
    }

    /// Returns a negative number, zero or a positive number, as `memcmp` does. Generic code over the bytes takes ten
    /// times as long without optimization.
    private static func order(_ a: Self, _ b: Self) -> Int {
        var (a, b) = (a.string, b.string)
        return a.withUTF8 { a in
            b.withUTF8 { b in
                guard let first = a.baseAddress, let second = b.baseAddress else { return a.count - b.count }
                let order = Int(memcmp(first, second, min(a.count, b.count)))
                return order == 0 ? a.count - b.count : order
            }
        }
    }
}

extension ExactString: CustomStringConvertible {
    /// The wrapped string.
    package var description: String { string }
}

extension StringProtocol {
    /// Returns whether both strings have the same UTF-8 bytes, which is stricter than `==`.
    package func isIdentical(to other: some StringProtocol) -> Bool {
        let contiguous = utf8.withContiguousStorageIfAvailable { a in
            other.utf8.withContiguousStorageIfAvailable { b in a.count == b.count && a.elementsEqual(b) }
        }
        return (contiguous ?? nil) ?? utf8.elementsEqual(other.utf8)
    }
}
