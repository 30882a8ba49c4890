/// One request between its submission and its completion.
struct PendingRequest: Sendable {
    let token: UInt64
    let request: Request
    let size: Int
    let deadline: ContinuousClock.Instant
    /// `nil` for a heartbeat, and after the caller was cancelled or the deadline has passed. The entry stays until the
    /// transport calls back, because it cannot be told to forget a request.
    var waiter: Waiter?
    /// When the request was passed to the transport. `nil` while it waits to be sent.
    var sentAt: ContinuousClock.Instant?

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
