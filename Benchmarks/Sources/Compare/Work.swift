/// How much is done in each phase.
struct Work: Sendable {
    /// Messages where many are under way at a time.
    var messages: Int
    /// Messages where each is awaited before the next.
    var ones: Int
    /// The length of a payload.
    var bytes: Int
}
