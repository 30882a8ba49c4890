import ArgumentParser

/// One piece of work, measured by itself.
enum Phase: String, CaseIterable, ExpressibleByArgument {
    /// Many concurrent senders in one process.
    case put
    /// Taken and acknowledged one by one, many at the same time.
    case take
    /// One sender that awaits each.
    case putOne = "put-one"
    /// One message at a time: acknowledged and awaited before the next.
    case takeOne = "take-one"
    /// From the call of `send` to the message in the hands of a consumer that waits.
    case handoff
    /// Taken until none comes for two seconds: one of several processes.
    case drain
    /// How long it takes to count the messages.
    case stats
    /// Many consumers that wait, one message, and what that costs.
    case idle
}

/// A line of the program's output.
struct Figures: Encodable {
    var phase: String
    var messages: Int
    var seconds: Double?
    var p50: Double?
    var p99: Double?
    /// The client's requests by their kind.
    var requests: [String: Int]?
    /// The most memory that the process has used, in megabytes.
    var memory: Int?
    var notes: [String: Double]?
}
