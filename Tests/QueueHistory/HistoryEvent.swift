/// An operation or an observation of a process that uses a queue, recorded immediately.
package struct HistoryEvent: Sendable, Hashable {
    package enum Kind: String, Sendable, Hashable {
        /// A send begins. A repetition of the send is not recorded again.
        case sending
        /// The send returned.
        case sent
        /// The send ended with an unknown outcome.
        case sendUnknown
        /// The message is certainly not stored.
        case sendRefused
        /// A consumer handed the message out.
        case delivered
        /// An acknowledgement begins.
        case acknowledging
        /// The acknowledgement returned.
        case acknowledged
        /// The acknowledgement ended with an unknown outcome.
        case acknowledgeUnknown
        /// The acknowledgement was refused, because the lease is lost.
        case leaseLost
        // The raw values of the next two are part of the file format.
        case requeued = "givenBack"
        case requeueUnknown = "giveBackUnknown"
        case deadLettered
        case deadLetterUnknown
        /// The consumer was closed while it held the message, so this delivery may not count.
        case interrupted
        /// The state to which a later rollback takes the servers' tree back. The test records it, not a process.
        case checkpoint
        /// The servers went back to the last checkpoint.
        case rollback
    }

    package let kind: Kind
    /// The name of the process that recorded the event.
    package let process: String
    /// The payload, which identifies the message.
    package let message: String
    /// The fencing token of the delivery.
    package var token: Int64
    package var deliveryCount: Int
    /// The name of the message's node.
    package var name: String
    /// Milliseconds on a clock that all processes share.
    package var time: Int64

    package init(
        _ kind: Kind, by process: String, _ message: String, token: Int64 = 0, deliveryCount: Int = 0,
        name: String = "",
        time: Int64 = 0
    ) {
        self.kind = kind
        self.process = process
        self.message = message
        self.token = token
        self.deliveryCount = deliveryCount
        self.name = name
        self.time = time
    }
}

extension HistoryEvent: CustomStringConvertible {
    /// The event as one line, which ``init(line:)`` parses.
    package var description: String {
        "\(time) \(kind.rawValue) \(process) \(token) \(deliveryCount) \(name.isEmpty ? "-" : name) \(message)"
    }

    /// Parses a line. Returns `nil` when the line is incomplete, because its writer may have been killed.
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
