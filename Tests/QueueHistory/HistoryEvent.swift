/// Something that a member of a queue did or saw, written down at once.
package struct HistoryEvent: Sendable, Hashable {
    package enum Kind: String, Sendable, Hashable {
        /// A send begins. It may be repeated, which is no new beginning.
        case sending
        /// The send returned.
        case sent
        /// It is not known whether the message is stored, and the producer has given up.
        case sendUnknown
        /// The message is certainly not stored.
        case sendRefused
        /// A consumer handed the message out.
        case delivered
        /// An acknowledgement begins.
        case acknowledging
        /// The acknowledgement returned.
        case acknowledged
        /// It is not known whether the message is acknowledged, and the consumer has given up.
        case acknowledgeUnknown
        /// The acknowledgement was refused: the lease is lost.
        case leaseLost
        case givenBack
        case giveBackUnknown
        case deadLettered
        case deadLetterUnknown
        /// The consumer was closed while it held the message, so that this delivery may count as none.
        case interrupted
        /// The moment to which a later rollback takes the servers' tree back. No member writes it, but who causes it.
        case checkpoint
        /// The servers went back to the last checkpoint.
        case rollback
    }

    package let kind: Kind
    /// Who wrote it.
    package let member: String
    /// The payload, by which the message is known.
    package let message: String
    /// The fencing token of the delivery that it is about.
    package var token: Int64
    package var deliveryCount: Int
    /// The name of the message's node.
    package var name: String
    /// Milliseconds since some moment that all members share.
    package var time: Int64

    package init(
        _ kind: Kind, by member: String, _ message: String, token: Int64 = 0, deliveryCount: Int = 0, name: String = "",
        time: Int64 = 0
    ) {
        self.kind = kind
        self.member = member
        self.message = message
        self.token = token
        self.deliveryCount = deliveryCount
        self.name = name
        self.time = time
    }
}

extension HistoryEvent: CustomStringConvertible {
    /// One line, which ``init(line:)`` reads.
    package var description: String {
        "\(time) \(kind.rawValue) \(member) \(token) \(deliveryCount) \(name.isEmpty ? "-" : name) \(message)"
    }

    /// Reads a line; `nil` when it is none, such as one that was cut off when its writer was killed.
    package init?(line: some StringProtocol) {
        let fields = line.split(separator: " ", maxSplits: 6, omittingEmptySubsequences: false)
        guard fields.count == 7, let time = Int64(fields[0]), let kind = Kind(rawValue: String(fields[1])),
            let token = Int64(fields[3]), let count = Int(fields[4])
        else { return nil }
        self.init(
            kind, by: String(fields[2]), String(fields[6]), token: token, deliveryCount: count,
            name: fields[5] == "-" ? "" : String(fields[5]), time: time)
    }
}
