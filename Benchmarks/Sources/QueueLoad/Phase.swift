import ArgumentParser

/// A kind of work that is measured separately.
enum Phase: String, CaseIterable, ExpressibleByArgument {
    /// Many concurrent senders in one process.
    case put
    /// Consumes messages and acknowledges each of them, many at the same time.
    case take
    /// One sender that awaits each send.
    case putOne = "put-one"
    /// Consumes one message at a time, and awaits its acknowledgement before the next.
    case takeOne = "take-one"
    /// The time from the call of `send` until a waiting consumer has the message.
    case handoff
    /// Consumes messages until none arrives for two seconds. Several processes run this at the same time.
    case drain
    /// The time to count the messages.
    case stats
    /// Many waiting consumers and one message, and the requests that these cost.
    case idle
}

/// A line of the program's output.
struct Figures: Encodable {
    var phase: String
    var messages: Int
    var seconds: Double?
    var p50: Double?
    var p99: Double?
    /// The number of the client's requests by kind.
    var requests: [String: Int]?
    /// The peak memory of the process, in megabytes.
    var memory: Int?
    var notes: [String: Double]?
}
