/// The name of a message, `item-PPP-SSSSSSSSSS[-III][.R]`: its priority, the server's number, its index when it was stored
/// in one node with others, and how often it was given back or recovered.
///
/// The names are a wire format, shared with clients in other languages. The count stands in the name, so that no data
/// is rewritten, and the name stays short however often a message comes back.
///
/// A long queue's names are all in memory at once, so this is small, and the text is made anew when it is needed.
struct ItemName: Sendable, Hashable {
    /// Priority, number and index in the order of their weight.
    private let rank: UInt64
    /// How often the message was delivered and came back.
    let returns: Int
    /// The name as it stands in the tree, when it is not the one that this library would write.
    private let odd: String?

    static let priorities = 0...999

    /// 0…999; a lower number is served first.
    var priority: Int { Int(rank >> 44) }
    /// The number that the server gave. It is signed, 32 bits wide, and unique under its parent only.
    var sequence: Int32 { Int32(truncatingIfNeeded: Int64(rank >> 12 & 0xFFFF_FFFF) - Self.bias) }
    /// The place in the node that it was stored in with others.
    var index: Int? { rank & 0xFFF == 0 ? nil : Int(rank & 0xFFF) - 1 }
    /// The name as it stands in the tree.
    var string: String { odd ?? canonical }

    /// Makes the numbers ascend from zero.
    private static let bias: Int64 = 1 << 31

    private init(rank: UInt64, returns: Int, odd: String?) {
        self.rank = rank
        self.returns = returns
        self.odd = odd
    }

    private init(priority: Int, sequence: Int32, index: Int?, returns: Int, odd: String? = nil) {
        let number = UInt64(Int64(sequence) + Self.bias)
        self.init(
            rank: UInt64(priority) << 44 | number << 12 | UInt64(index.map { $0 + 1 } ?? 0), returns: returns, odd: odd)
    }

    /// The name's meaning, or `nil` when it is not an item's name.
    init?(_ string: String) {
        var string = string
        let parsed = string.withUTF8 { Self.parse($0[...]) }
        guard let parsed else { return nil }
        let name = ItemName(
            priority: parsed.priority, sequence: parsed.sequence, index: parsed.index, returns: parsed.returns)
        self.init(rank: name.rank, returns: name.returns, odd: parsed.isCanonical ? nil : string)
    }

    private struct Parts {
        var priority = 0
        var sequence: Int32 = 0
        var index: Int?
        var returns = 0
        /// Whether the number has the server's ten digits.
        var isCanonical = false
    }

    private static func parse(_ name: Slice<UnsafeBufferPointer<UInt8>>) -> Parts? {
        var rest = name
        var parts = Parts()
        guard rest.starts(with: "item-".utf8), rest.count >= 10 else { return nil }
        rest = rest.dropFirst(5)
        guard let priority = number(rest.prefix(3)) else { return nil }
        parts.priority = priority
        rest = rest.dropFirst(3)
        guard rest.first == UInt8(ascii: "-") else { return nil }
        rest = rest.dropFirst()
        if let dot = rest.firstIndex(of: UInt8(ascii: ".")) {
            let suffix = rest[rest.index(after: dot)...]
            guard suffix.first != UInt8(ascii: "0"), let returns = number(suffix) else { return nil }
            parts.returns = returns
            rest = rest[..<dot]
        }
        // A number may begin with a minus, where the server's counter was negative; that one is no separator.
        let isNegative = rest.first == UInt8(ascii: "-")
        if isNegative { rest = rest.dropFirst() }
        if let dash = rest.firstIndex(of: UInt8(ascii: "-")) {
            let digits = rest[rest.index(after: dash)...]
            guard digits.count == 3, let index = number(digits) else { return nil }
            parts.index = index
            rest = rest[..<dash]
        }
        guard let magnitude = number(rest), let sequence = Int32(exactly: isNegative ? -magnitude : magnitude) else {
            return nil
        }
        parts.sequence = sequence
        parts.isCanonical = isNegative ? magnitude > 0 && rest.count == max(9, digits(magnitude)) : rest.count == 10
        return parts
    }

    /// Digits, at most ten of them.
    private static func number(_ bytes: Slice<UnsafeBufferPointer<UInt8>>) -> Int? {
        guard !bytes.isEmpty, bytes.count <= 10 else { return nil }
        var value = 0
        for byte in bytes {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            value = value * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return value
    }

    private static func digits(_ number: Int) -> Int { String(number).count }

    private var canonical: String {
        var text = Self.prefix(priority: priority)
        let (sequence, index) = (Int(sequence), index)
        // As the server's "%010d" has it: a minus takes one of the ten places.
        text += sequence < 0 ? "-" + Self.padded(-sequence, 9) : Self.padded(sequence, 10)
        if let index { text += "-" + Self.padded(index, 3) }
        return returns == 0 ? text : "\(text).\(returns)"
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    /// The name of one of the node's messages.
    func message(_ index: Int) -> ItemName {
        ItemName(priority: priority, sequence: sequence, index: index, returns: returns)
    }

    /// The same message's name with another count.
    func with(returns: Int) -> String {
        guard let odd else { return ItemName(rank: rank, returns: returns, odd: nil).canonical }
        let bare = odd.prefix { $0 != "." }
        return returns == 0 ? String(bare) : "\(bare).\(returns)"
    }

    /// The start of the name of a message that is to be created; the server appends its number.
    static func prefix(priority: Int) -> String { "item-" + padded(priority, 3) + "-" }
}

extension ItemName: Comparable {
    /// The order in which messages are handed out.
    static func < (a: ItemName, b: ItemName) -> Bool {
        a.rank == b.rank ? a.returns < b.returns : a.rank < b.rank
    }
}
