/// Splits bytes that arrive in pieces into lines. It scans each byte once.
struct LineSplitter {
    /// The most bytes that a line may have.
    let limit: Int
    /// The number of complete lines so far.
    private(set) var count = 0
    /// Whether the next line exceeds the limit.
    private(set) var isTooLong = false
    /// The beginning of the next line.
    private var rest: [UInt8] = []

    init(limit: Int) { self.limit = limit }

    /// Adds a piece.
    ///
    /// - Returns: the lines that end in the piece, up to the first line that is too long.
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
    /// - Returns: the last line, if it has no line break at its end.
    mutating func finish() -> [UInt8]? {
        if rest.isEmpty { return nil }
        defer { rest = [] }
        count += 1
        return rest
    }
}
