/// Cuts bytes that come in pieces into lines, each byte looked at once.
struct LineSplitter {
    /// The most bytes that a line may have.
    let limit: Int
    /// How many lines there were.
    private(set) var count = 0
    /// Whether the line after those has more bytes than it may.
    private(set) var isTooLong = false
    /// The beginning of the line after those.
    private var rest: [UInt8] = []

    init(limit: Int) { self.limit = limit }

    /// Adds a piece.
    ///
    /// - Returns: the lines that end in it, as far as none is too long.
    mutating func add(_ piece: [UInt8]) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var start = piece.startIndex
        while !isTooLong {
            let end = piece[start...].firstIndex(of: UInt8(ascii: "\n")) ?? piece.endIndex
            rest += piece[start..<end]
            isTooLong = rest.count > limit
            if isTooLong || end == piece.endIndex { break }
            lines.append(rest)
            rest = []
            start = end + 1
        }
        count += lines.count
        return lines
    }

    /// Ends the input.
    ///
    /// - Returns: a last line without an end, if there is one.
    mutating func finish() -> [UInt8]? {
        if rest.isEmpty { return nil }
        defer { rest = [] }
        count += 1
        return rest
    }
}
