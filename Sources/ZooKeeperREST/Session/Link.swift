import Synchronization

/// A session at a gateway. Links are compared by identity, because two that look alike are two sessions.
final class Link: Sendable {
    /// The gateway's address, without a slash at its end.
    let gateway: String
    /// The session's ID at the gateway.
    let id: String
    /// Whether the gateway has advertised transactions and watches.
    let hasExtensions: Bool
    /// The session's ID at the ensemble.
    let owner: Int64
    /// When the session was requested. It cannot have begun earlier.
    let opened: ContinuousClock.Instant
    /// How long the session lives without a heartbeat, at the gateway or at the ensemble, whichever is shorter.
    let timeout: Duration

    private struct Requests {
        var hasEnded = false
        var last = 0
        var inFlight: [Int: @Sendable () -> Void] = [:]
    }
    private let requests = Mutex(Requests())

    init(
        gateway: String, id: String, hasExtensions: Bool, owner: Int64, opened: ContinuousClock.Instant,
        timeout: Duration
    ) {
        self.gateway = gateway
        self.id = id
        self.hasExtensions = hasExtensions
        self.owner = owner
        self.opened = opened
        self.timeout = timeout
    }

    /// Cancels every request that is in progress. A gateway that has vanished would hold it, and every request behind
    /// it, long after the next session has begun.
    func end() {
        let inFlight = requests.withLock { requests in
            requests.hasEnded = true
            return Array(requests.inFlight.values)
        }
        for cancel in inFlight { cancel() }
    }

    /// Runs a request of the session until its response arrives or the session ends.
    ///
    /// - Throws: ``RESTTransport/Failure`` when the session ends first, and the errors of the request.
    func whileOpen(
        _ request: @escaping @Sendable () async throws -> RESTTransport.Response
    ) async throws -> RESTTransport.Response {
        if requests.withLock({ $0.hasEnded }) { throw RESTTransport.Failure.notSent("The session has ended.") }
        let task = Task { try await request() }
        let number = requests.withLock { requests in
            if requests.hasEnded { task.cancel() }
            requests.last += 1
            requests.inFlight[requests.last] = { task.cancel() }
            return requests.last
        }
        defer { requests.withLock { $0.inFlight[number] = nil } }
        do {
            return try await withTaskCancellationHandler {
                try await task.value
            } onCancel: {
                task.cancel()
            }
        } catch is CancellationError where !Task.isCancelled {
            throw RESTTransport.Failure.noResponse
        }
    }
}
