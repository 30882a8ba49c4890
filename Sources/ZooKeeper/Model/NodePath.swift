/// Validates paths before they reach the C client, because a bad path in a multi makes it free
/// memory twice and abort the process.
///
/// The rules are the server's (`PathUtils.validatePath` in ZooKeeper's Java source), which are
/// stricter than those of the C client.
public enum NodePath {
    /// Validates an absolute path by the server's rules.
    ///
    /// - Parameters:
    ///   - path: The path.
    ///   - sequential: Whether the path is for a sequential create, which may end in `/`.
    ///     The number is then the whole name.
    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/invalidArgument``) with the
    ///   reason, when the path is invalid.
    public static func validate(_ path: String, sequential: Bool = false) throws {
        if isPlain(path) { return }
        func invalid(_ reason: String) -> ZooKeeperError {
            ZooKeeperError(
                code: .invalidArgument, message: "The path \(quoted(path)) \(reason).", path: nil, outcome: .notApplied)
        }
        guard path.utf8.first == UInt8(ascii: "/") else { throw invalid("must begin with \"/\"") }
        if path.utf8.count == 1, !sequential { return }
        if let character = path.unicodeScalars.first(where: isForbidden) {
            throw invalid(
                "must not contain the character U+\(String(character.value, radix: 16, uppercase: true))")
        }
        var segments = path.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        if sequential, let last = segments.last, last.isEmpty { segments.removeLast() }
        for segment in segments {
            if segment.isEmpty { throw invalid("must not contain an empty name (\"//\", or a \"/\" at the end)") }
            if segment.elementsEqual(".".utf8) || segment.elementsEqual("..".utf8) {
                throw invalid("must not contain the names \".\" and \"..\"")
            }
        }
    }

    /// Returns the last component of a path.
    package static func name(of path: String) -> String {
        let bytes = path.utf8
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return path }
        return String(path[bytes.index(after: slash)...])
    }

    /// Returns the path of a node's parent, or `nil` for the root.
    package static func parent(of path: String) -> String? {
        guard path.utf8.count > 1, let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Returns whether a path is certainly valid: it consists of printable ASCII, and no component is empty or begins
    /// with a dot. Reads the bytes only once, because every operation of a multi is checked here.
    private static func isPlain(_ path: String) -> Bool {
        let (slash, dot) = (UInt8(ascii: "/"), UInt8(ascii: "."))
        guard path.utf8.first == slash else { return false }
        var previous: UInt8 = 0
        for byte in path.utf8 {
            guard 0x20...0x7E ~= byte else { return false }
            if previous == slash, byte == slash || byte == dot { return false }
            previous = byte
        }
        return previous != slash
    }

    /// Returns whether a character is a control character, or one that the server refuses. The server looks at UTF-16,
    /// and refuses both halves of a character beyond the basic multilingual plane.
    private static func isForbidden(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x00...0x1F, 0x7F...0x9F, 0xE000...0xF8FF, 0xFFF0...0x10FFFF: true
        default: false
        }
    }

    /// Returns the path for a message. Escapes and truncates it, because it comes from outside.
    private static func quoted(_ path: String) -> String {
        let shown = path.unicodeScalars.prefix(120).map { $0.escaped(asASCII: true) }.joined()
        return "\"\(shown)\(path.unicodeScalars.count > 120 ? "…" : "")\""
    }
}
