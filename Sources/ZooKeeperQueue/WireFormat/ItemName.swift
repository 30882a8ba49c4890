/// The name of a message, `item-PPP-[eN-]SSSSSSSSSS[-III][.R]`: its priority, the epoch of the sequence
/// numbers, its sequence number, its index when it was stored in one node with other messages, and how often it
/// was requeued or recovered.
///
/// The name omits epoch 0. It also omits the epoch in `items`, where the queue's epoch applies.
///
/// The names are a wire format, shared with clients in other languages. The count is in the name, because then a
/// redelivery rewrites no data, and the name stays short however often a message is redelivered.
///
/// All names of a long queue are in memory at once. So this type is small, and its text is built when it is needed.
struct ItemName: Sendable, Hashable {
    /// The priority, the sequence number and the index, in the order of their significance.
    private let rank: UInt64
    private let count: UInt32
    /// How often the sequence numbers had rolled over when the message was stored.
    let epoch: UInt32
    /// The name as it is in `items`, when it is not the one that this library would write.
    private let odd: OddName?

    /// A separate object, because such names are rare.
    private final class OddName: Sendable, Hashable {
        let string: String
        init(_ string: String) { self.string = string }
        static func == (a: OddName, b: OddName) -> Bool { a.string == b.string }
        func hash(into hasher: inout Hasher) { hasher.combine(string) }
    }

    static let priorities = 0...999

    /// 0…999; a lower number is delivered first.
    var priority: Int { Int(rank >> 44) }
    /// How often the message was delivered and then requeued or recovered.
    var redeliveries: Int { Int(count) }
    /// The sequence number that the server assigned. It is signed, 32 bits wide, and unique only below its parent.
    var sequence: Int32 { Int32(truncatingIfNeeded: Int64(rank >> 12 & 0xFFFF_FFFF) - Self.bias) }
    /// The index in the node that the message was stored in with other messages.
    var index: Int? { rank & 0xFFF == 0 ? nil : Int(rank & 0xFFF) - 1 }
    /// The whole name, which no other message of the queue ever has.
    var string: String {
        guard epoch > 0 else { return untagged }
        guard let odd else { return canonical(withEpoch: true) }
        // The tag follows the priority, which has three digits in every name.
        return odd.string.prefix(9) + Self.tag(epoch) + odd.string.dropFirst(9)
    }
    /// The name as it is in `items` while its epoch is the queue's.
    var untagged: String { odd?.string ?? canonical(withEpoch: false) }

    /// Maps the signed numbers to ascending numbers from zero.
    private static let bias: Int64 = 1 << 31

    private init(rank: UInt64, epoch: UInt32, count: UInt32, odd: OddName?) {
        self.rank = rank
        self.epoch = epoch
        self.count = count
        self.odd = odd
    }

    /// Parses a whole name. Returns `nil` when it is not the name of a message.
    init?(_ string: String) {
        var string = string
        guard let parts = string.withUTF8({ Self.parse($0[...]) }) else { return nil }
        var untagged = string
        if let epoch = parts.epoch {
            let end = string.utf8.index(string.startIndex, offsetBy: 9)
            untagged = String(string[..<end] + string[end...].dropFirst(Self.tag(epoch).utf8.count))
        }
        self.init(parts, epoch: parts.epoch ?? 0, untagged: untagged)
    }

    /// Parses a name in `items`. Returns `nil` when it is not the name of a message there.
    init?(_ untagged: String, inEpoch epoch: UInt32) {
        var untagged = untagged
        guard let parts = untagged.withUTF8({ Self.parse($0[...]) }), parts.epoch == nil else { return nil }
        self.init(parts, epoch: epoch, untagged: untagged)
    }

    private init(_ parts: Parts, epoch: UInt32, untagged: String) {
        self.init(
            rank: UInt64(parts.priority) << 44 | UInt64(Int64(parts.sequence) + Self.bias) << 12
                | UInt64(parts.index.map { $0 + 1 } ?? 0),
            epoch: epoch, count: parts.redeliveries, odd: parts.isCanonical ? nil : OddName(untagged))
    }

    private struct Parts {
        var priority = 0
        var epoch: UInt32?
        var sequence: Int32 = 0
        var index: Int?
        var redeliveries: UInt32 = 0
        /// Whether the number is formatted as the server formats it, with ten characters.
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
        if rest.first == UInt8(ascii: "e") {
            // Leading zeros are not allowed, because no two names may mean the same message.
            guard let dash = rest.firstIndex(of: UInt8(ascii: "-")), rest.dropFirst().first != UInt8(ascii: "0"),
                let epoch = number(rest[..<dash].dropFirst()).flatMap(UInt32.init(exactly:))
            else { return nil }
            parts.epoch = epoch
            rest = rest[rest.index(after: dash)...]
        }
        if let dot = rest.firstIndex(of: UInt8(ascii: ".")) {
            let suffix = rest[rest.index(after: dot)...]
            guard suffix.first != UInt8(ascii: "0"), let redeliveries = number(suffix).flatMap(UInt32.init(exactly:))
            else {
                return nil
            }
            parts.redeliveries = redeliveries
            rest = rest[..<dot]
        }
        // A negative sequence number begins with a minus, which is not a separator.
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

    /// Parses a number of at most ten digits.
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

    private func canonical(withEpoch: Bool) -> String {
        var text = Self.prefix(priority: priority) + (withEpoch ? Self.tag(epoch) : "")
        let (sequence, index) = (Int(sequence), index)
        // Formats as the server's "%010d" does: a minus takes one of the ten characters.
        text += sequence < 0 ? "-" + Self.padded(-sequence, 9) : Self.padded(sequence, 10)
        if let index { text += "-" + Self.padded(index, 3) }
        return redeliveries == 0 ? text : "\(text).\(redeliveries)"
    }

    private static func tag(_ epoch: UInt32) -> String { "e\(epoch)-" }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    /// Returns the name of one of the node's messages.
    func message(_ index: Int) -> ItemName {
        ItemName(rank: rank & ~0xFFF | UInt64(index + 1), epoch: epoch, count: count, odd: nil)
    }

    /// Returns the name of the same message with another count.
    func with(redeliveries: Int) -> ItemName {
        let odd = odd.map { odd in
            let bare = odd.string.prefix { $0 != "." }
            return OddName(redeliveries == 0 ? String(bare) : "\(bare).\(redeliveries)")
        }
        return ItemName(rank: rank, epoch: epoch, count: UInt32(clamping: redeliveries), odd: odd)
    }

    /// Returns the name that the server gives to a node of the same priority after the one with this number; `nil`
    /// after the last number.
    func next(after number: Int32) -> ItemName? {
        let (next, isTooLarge) = number.addingReportingOverflow(1)
        guard !isTooLarge else { return nil }
        let rank = (rank >> 44) << 44 | UInt64(Int64(next) + Self.bias) << 12
        return ItemName(rank: rank, epoch: 0, count: 0, odd: nil)
    }

    /// Returns the beginning of a new message's name, to which the server appends a sequence number.
    static func prefix(priority: Int) -> String { "item-" + padded(priority, 3) + "-" }
}

extension ItemName: Comparable {
    /// The order in which messages are delivered.
    static func < (a: ItemName, b: ItemName) -> Bool {
        if a.epoch == b.epoch { return a.rank == b.rank ? a.count < b.count : a.rank < b.rank }
        return a.priority == b.priority ? a.epoch < b.epoch : a.priority < b.priority
    }
}
