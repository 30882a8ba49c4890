/// The name of a delayed message, `DDDDDDDDDDDDD-item-…`: its due time in milliseconds since 1970 on the ensemble's
/// clock, and the name of the message.
///
/// The name of a message that was sent with a delay is `item-PPP-SSSSSSSSSS`, with a sequence number of its slot. The
/// message gets another one when it becomes ready. The name of a message that was requeued with a delay is its whole
/// name with its delivery count, which it keeps.
struct DelayedName: Sendable, Hashable {
    let due: EnsembleTime
    let item: ItemName
    /// The name as it is in the slot.
    let string: String

    /// Whether the message was sent with a delay, so it was never delivered.
    var wasSent: Bool { item.redeliveries == 0 }

    /// Parses a name. Returns `nil` when it is not the name of a delayed message.
    init?(_ string: String) {
        let digits = string.utf8.prefix(Self.dueLength)
        guard digits.count == Self.dueLength, digits.allSatisfy({ (0x30...0x39).contains($0) }),
            string.utf8.dropFirst(Self.dueLength).first == UInt8(ascii: "-"),
            let due = Int64(String(Substring(digits))),
            let item = ItemName(String(Substring(string.utf8.dropFirst(Self.dueLength + 1))))
        else { return nil }
        self.due = EnsembleTime(millisecondsSince1970: due)
        self.item = item
        self.string = string
    }

    private static let dueLength = 13
    /// The due times that have 13 digits.
    static let dueTimes = 0...Int64(9_999_999_999_999)

    /// Returns the beginning of a name: the due time with 13 digits, by which names sort.
    static func prefix(due: EnsembleTime) -> String {
        let due = String(min(max(due.millisecondsSince1970, 0), dueTimes.upperBound))
        return String(repeating: "0", count: dueLength - due.utf8.count) + due + "-"
    }
}

extension DelayedName: Comparable {
    /// The order in which messages become ready: by due time, and then as they were sent.
    static func < (a: DelayedName, b: DelayedName) -> Bool {
        if a.due != b.due { return a.due < b.due }
        if a.wasSent != b.wasSent { return b.wasSent }
        return a.item.sequence == b.item.sequence ? a.string < b.string : a.item.sequence < b.item.sequence
    }
}

/// A part of the time, of which a node holds the delayed messages: a minute, or the day that it belongs to.
///
/// Slots keep every list short. A queue with a million messages over a year has a list of 365 days, lists of up to
/// 1,440 minutes, and a few messages in each minute.
struct DelaySlot: Sendable, Hashable {
    /// The number of the minute since 1970.
    let minute: Int64

    private static let minutesOfADay: Int64 = 1_440
    private static let millisecondsOfAMinute: Int64 = 60_000

    private init(minute: Int64) { self.minute = minute }

    init(_ due: EnsembleTime) {
        minute = min(max(due.millisecondsSince1970, 0), DelayedName.dueTimes.upperBound) / Self.millisecondsOfAMinute
    }

    /// The slots whose due times have 13 digits.
    private static let minutes = 0...DelayedName.dueTimes.upperBound / millisecondsOfAMinute

    /// Returns the slots with these names in a day, in order. Leaves out what is not the name of a slot of that day.
    static func slots(_ names: [String], ofDay day: Int64) -> [DelaySlot] {
        names.compactMap { name in
            Int64(name).flatMap { minutes.contains($0) ? DelaySlot(minute: $0) : nil }
        }.filter { $0.day == day }.sorted { $0.minute < $1.minute }
    }

    /// Returns the days with these names, in order. Leaves out what is not the name of a day.
    static func days(_ names: [String]) -> [Int64] {
        names.compactMap { Int64($0) }.filter { (0...minutes.upperBound / minutesOfADay).contains($0) }.sorted()
    }

    /// The number of the day since 1970.
    var day: Int64 { minute / Self.minutesOfADay }
    var start: EnsembleTime { EnsembleTime(millisecondsSince1970: minute * Self.millisecondsOfAMinute) }
    var end: EnsembleTime { DelaySlot(minute: minute + 1).start }

    /// The first slot of a day.
    static func first(ofDay day: Int64) -> DelaySlot { DelaySlot(minute: day * minutesOfADay) }
}
