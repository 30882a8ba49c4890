/// One request on its way: who waits for it, how long, and what the library may still write to.
struct Call: Sendable {
    let token: UInt64
    let request: Request
    let size: Int
    let deadline: ContinuousClock.Instant
    /// `nil` when nobody waits: a heartbeat, or a caller that was cancelled or gave up. The entry stays until the
    /// library has called back, since the library cannot be told to forget a request.
    var waiter: Waiter?
    /// When it was handed to the library; `nil` while it waits to be sent.
    var sentAt: ContinuousClock.Instant?
    /// The memory into which the library writes a multi's results. It lives as long as this entry.
    var multi: MultiBuffers?

    init(
        token: UInt64, request: Request, deadline: ContinuousClock.Instant,
        waiter: Waiter?
    ) {
        self.token = token
        self.request = request
        self.size = request.encodedSize
        self.deadline = deadline
        self.waiter = waiter
    }
}
