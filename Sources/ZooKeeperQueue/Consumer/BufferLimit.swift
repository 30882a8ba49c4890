/// How many messages a consumer buffers beyond those that are being handled: a value.
///
/// A message that waits in a consumer's buffer waits for that consumer alone. So the buffer shrinks when its messages
/// wait long,
/// because their handlers are slow, and grows when it is used up at once.
struct BufferLimit: Sendable, Hashable {
    /// The largest value that the limit grows to.
    let maximum: Int
    private(set) var value: Int

    /// A buffer that is used up within this time grows.
    static let quick = Duration.milliseconds(250)
    /// A message that has waited longer shows that the buffer is too large.
    static let slow = Duration.milliseconds(500)

    init(maximum: Int, startingWith value: Int? = nil) {
        self.maximum = max(1, maximum)
        self.value = max(1, min(value ?? maximum, self.maximum))
    }

    /// Notes that a message was handed out after this wait.
    mutating func handedOut(after wait: Duration, wasLast: Bool) {
        if wait > Self.slow {
            shrink()
        } else if wasLast, wait < Self.quick {
            value = min(value * 2, maximum)
        }
    }

    /// Halves the limit.
    mutating func shrink() { value = max(1, value / 2) }
}
