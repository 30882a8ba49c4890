/// How many messages a consumer buffers beyond those that its handlers are processing: a value.
///
/// A message in a consumer's buffer waits for that consumer alone. So the buffer shrinks when its messages wait long,
/// because their handlers are slow. It grows when it is used up quickly.
struct BufferLimit: Sendable, Hashable {
    /// The largest value of the limit.
    let maximum: Int
    private(set) var value: Int

    /// The buffer grows when it is used up within this time.
    static let quick = Duration.milliseconds(250)
    /// The buffer is too large when a message has waited longer than this.
    static let slow = Duration.milliseconds(500)

    init(maximum: Int, startingWith value: Int? = nil) {
        self.maximum = max(1, maximum)
        self.value = max(1, min(value ?? maximum, self.maximum))
    }

    /// Records that a message was handed out after this wait.
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
