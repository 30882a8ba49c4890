/// The name of a message's node, `item-PPP-SSSSSSSSSS` or `item-PPP-SSSSSSSSSS.R`: its priority, the server's number,
/// and how often it was given back or recovered.
///
/// The names are a wire format, shared with clients in other languages. The count stands in the name, so that no data
/// is rewritten, and the name stays short however often a message comes back.
struct ItemName: Sendable, Hashable {
    /// 0…999; a lower number is served first.
    let priority: Int
    /// The number that the server gave. It is signed, 32 bits wide, and unique under its parent only.
    let sequence: Int32
    /// How often the message was delivered and came back.
    let returns: Int
    /// The name as it stands in the tree.
    let string: String

    static let priorities = 0...999

    /// The name's meaning, or `nil` when it is not an item's name.
    init?(_ string: String) {
        var bytes = Substring(string).utf8
        guard bytes.starts(with: "item-".utf8) else { return nil }
        bytes = bytes.dropFirst(5)
        guard bytes.count >= 5, let priority = Self.number(bytes.prefix(3)), priority >= 0 else { return nil }
        bytes = bytes.dropFirst(3)
        guard bytes.first == UInt8(ascii: "-") else { return nil }
        bytes = bytes.dropFirst()
        let dot = bytes.firstIndex(of: UInt8(ascii: ".")) ?? bytes.endIndex
        guard let sequence = Self.number(bytes[..<dot]).flatMap({ Int32(exactly: $0) }) else { return nil }
        var returns = 0
        if dot != bytes.endIndex {
            let suffix = bytes[bytes.index(after: dot)...]
            guard let first = suffix.first, first != UInt8(ascii: "0"), first != UInt8(ascii: "-"),
                let number = Self.number(suffix)
            else { return nil }
            returns = number
        }
        self.priority = priority
        self.sequence = sequence
        self.returns = returns
        self.string = string
    }

    /// The same message's name with another count.
    func with(returns: Int) -> String {
        let bare = string.prefix { $0 != "." }
        return returns == 0 ? String(bare) : "\(bare).\(returns)"
    }

    /// The start of the name of a message that is to be created; the server appends its number.
    static func prefix(priority: Int) -> String {
        let digits = String(priority)
        return "item-" + String(repeating: "0", count: 3 - digits.count) + digits + "-"
    }

    /// Digits, with a minus in front where the server's counter was negative; at most ten of them.
    private static func number(_ bytes: Substring.UTF8View.SubSequence) -> Int? {
        let isNegative = bytes.first == UInt8(ascii: "-")
        let digits = isNegative ? bytes.dropFirst() : bytes
        guard !digits.isEmpty, digits.count <= 10 else { return nil }
        var value = 0
        for byte in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            value = value * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return isNegative ? -value : value
    }
}

extension ItemName: Comparable {
    /// The order in which messages are handed out.
    static func < (a: ItemName, b: ItemName) -> Bool {
        (a.priority, a.sequence, a.returns) < (b.priority, b.sequence, b.returns)
    }
}
