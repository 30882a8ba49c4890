/// The rules for paths, checked before anything reaches the C client: a bad path inside a multi makes it free
/// memory twice and abort the process.
///
/// They are the server's (`PathUtils.validatePath` in ZooKeeper's Java source), which are stricter than the C
/// client's.
public enum NodePath {
    /// Throws ``ZooKeeperError/Code/invalidArgument``, saying what is wrong, unless `path` is an absolute path
    /// that the server accepts. A sequential create may end in `/`: the number becomes the whole name.
    public static func validate(_ path: String, sequential: Bool = false) throws {
        if isPlain(path) { return }
        func refuse(_ why: String) -> ZooKeeperError {
            ZooKeeperError(
                code: .invalidArgument, message: "The path \(quoted(path)) \(why).", path: nil, outcome: .notApplied)
        }
        guard path.utf8.first == UInt8(ascii: "/") else { throw refuse("must begin with \"/\"") }
        if path.utf8.count == 1, !sequential { return }
        if let character = path.unicodeScalars.first(where: isForbidden) {
            throw refuse(
                "holds the character U+\(String(character.value, radix: 16, uppercase: true)), which ZooKeeper refuses")
        }
        var segments = path.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        if sequential, let last = segments.last, last.isEmpty { segments.removeLast() }
        for segment in segments {
            if segment.isEmpty { throw refuse("holds an empty name (\"//\", or a \"/\" at its end)") }
            if segment.elementsEqual(".".utf8) || segment.elementsEqual("..".utf8) {
                throw refuse("must not hold the names \".\" and \"..\"")
            }
        }
    }

    /// The last name of a path.
    package static func name(of path: String) -> String {
        let bytes = path.utf8
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return path }
        return String(path[bytes.index(after: slash)...])
    }

    /// The path of a node's parent; `nil` for the root.
    package static func parent(of path: String) -> String? {
        guard path.utf8.count > 1, let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Whether a path is of the usual kind, which is certainly good: printable ASCII, and each name has something in it that
    /// does not begin with a dot. In one pass over the bytes, since each operation of a multi comes through here.
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

    /// Control characters, and those that ZooKeeper's server refuses: it looks at UTF-16, and takes both halves of what is beyond
    /// the basic plane for bad.
    private static func isForbidden(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x00...0x1F, 0x7F...0x9F, 0xE000...0xF8FF, 0xFFF0...0x10FFFF: true
        default: false
        }
    }

    /// The path for a message: escaped, and cut when it is long, since it came from outside.
    private static func quoted(_ path: String) -> String {
        let shown = path.unicodeScalars.prefix(120).map { $0.escaped(asASCII: true) }.joined()
        return "\"\(shown)\(path.unicodeScalars.count > 120 ? "…" : "")\""
    }
}
