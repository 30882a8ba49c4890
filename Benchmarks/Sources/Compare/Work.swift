/// The amount of work in each phase.
struct Work: Sendable {
    /// The number of messages in phases with many in flight at a time.
    var messages: Int
    /// The number of messages in phases that await each message before the next.
    var ones: Int
    /// The length of a payload in bytes.
    var bytes: Int
}
