import DequeModule

/// The state machine of all requests of a client, from submission to completion. It is a value, and
/// never calls the transport itself.
///
/// A request has these transitions:
///
/// - waiting → in flight → completed
/// - waiting → completed, when it was cancelled, its deadline has passed, or the client was closed. The outcome is
///   definite, because nothing was sent.
/// - in flight → waiting, for a read whose response was lost, and for a request that the transport did not
///   accept because it was not connected
/// - in flight → abandoned, when it was cancelled or its deadline has passed
/// - abandoned → removed, when the transport calls back
///
/// Methods return the waiter, which the caller resumes after it has released the lock around this value.
struct RequestStateMachine {
    /// The consequence when a request ends, or when its caller stops waiting.
    struct Completion {
        /// The waiter to resume with the result.
        let waiter: Waiter?
        let result: ReplyResult
        /// The request's watch, and whether the transport has set it. `nil` when the request sets no watch, and when
        /// only its caller has stopped waiting.
        var watch: (key: WatchKey, isArmed: Bool, isOnMissingNode: Bool)?
    }

    private var requests: [UInt64: PendingRequest] = [:]
    /// The tokens of waiting requests, in the order of submission. Tokens of removed requests may remain in it.
    private var waiting: Deque<UInt64> = []
    /// The number of requests that still wait.
    private var waitingCount: Int { requests.count - inFlight }
    private(set) var inFlight = 0
    private var inFlightBytes = 0
    private var isClosing = false
    /// When the most recent answered request was sent. The session was alive at that moment.
    private(set) var lastHeard: ContinuousClock.Instant?

    private let window: Int
    private let windowBytes: Int
    private let maximumWaiting: Int

    init(window: Int, windowBytes: Int, maximumWaiting: Int) {
        self.window = window
        self.windowBytes = windowBytes
        self.maximumWaiting = maximumWaiting
    }

    /// Whether a request waits and the in-flight limit allows one more.
    var hasWork: Bool { !waiting.isEmpty && inFlight < window }
    /// Whether there are no requests, neither waiting nor in flight.
    var isEmpty: Bool { requests.isEmpty }

    // MARK: From callers

    /// Adds a request. Returns a completion when the request is refused immediately.
    mutating func submit(_ pending: PendingRequest) -> Completion? {
        if isClosing { return Self.completion(of: pending, .failure(Self.closed(pending))) }
        if waitingCount >= maximumWaiting {
            let error = ZooKeeperError(
                code: .overloaded,
                message: "Not sent: \(maximumWaiting) requests are already waiting. Wait until some of them have "
                    + "completed, or raise maximumQueuedRequests.",
                path: pending.request.path, outcome: .notApplied)
            return Self.completion(of: pending, .failure(error))
        }
        requests[pending.token] = pending
        // While nothing can be sent, the tokens of abandoned requests would accumulate.
        if waiting.count > 2 * waitingCount + 1_000 { waiting.removeAll { requests[$0] == nil } }
        waiting.append(pending.token)
        return nil
    }

    /// Removes the waiter of a request whose task was cancelled.
    mutating func cancel(_ token: UInt64) -> Completion? {
        abandon(token) { _ in CancellationError() }
    }

    /// Ends every request whose deadline has passed. Returns the earliest remaining deadline.
    mutating func expire(
        now: ContinuousClock.Instant, hint: String
    ) -> (completions: [Completion], next: ContinuousClock.Instant?) {
        var completions: [Completion] = []
        var next: ContinuousClock.Instant?
        for pending in requests.values where pending.waiter != nil {
            if pending.deadline <= now {
                let completion = abandon(pending.token) { pending in
                    ZooKeeperError(
                        code: .deadlineExceeded,
                        message: "No response arrived before the deadline. \(hint)", path: pending.request.path,
                        outcome: pending.sentAt == nil || pending.request.isRead ? .notApplied : .unknown)
                }
                if let completion { completions.append(completion) }
            } else if next.map({ pending.deadline < $0 }) ?? true {
                next = pending.deadline
            }
        }
        return (completions, next)
    }

    private mutating func abandon(_ token: UInt64, with error: (PendingRequest) -> any Error) -> Completion? {
        guard var pending = requests[token], pending.waiter != nil,
            var completion = Self.completion(of: pending, .failure(error(pending)))
        else { return nil }
        pending.waiter = nil
        if pending.sentAt == nil {
            requests[token] = nil
        } else {
            requests[token] = pending
            // The transport will still call back, and that completion settles the watch.
            completion.watch = nil
        }
        return completion
    }

    // MARK: To the transport

    /// Adds a request that is passed to the transport at once, ahead of the waiting ones.
    mutating func begin(_ pending: PendingRequest) {
        var pending = pending
        pending.sentAt = .now
        requests[pending.token] = pending
        inFlight += 1
        inFlightBytes += pending.size
    }

    /// Returns the next request to pass to the transport. The request counts as in flight from now on, because its
    /// completion may run before the transport's function has returned.
    mutating func nextToSend(now: ContinuousClock.Instant) -> PendingRequest? {
        while inFlight < window, let token = waiting.first {
            guard var pending = requests[token] else {
                waiting.removeFirst()
                continue
            }
            // One request is always allowed, because one larger than the limit would wait forever.
            if inFlight > 0, inFlightBytes + pending.size > windowBytes { return nil }
            waiting.removeFirst()
            pending.sentAt = now
            requests[token] = pending
            inFlight += 1
            inFlightBytes += pending.size
            return pending
        }
        return nil
    }

    /// Puts back a request that the transport did not accept because it is not connected. Nothing was sent.
    mutating func postpone(_ token: UInt64) -> Completion? {
        guard let pending = removeInFlight(token) else { return nil }
        return requeue(pending)
    }

    /// Ends a request that the transport refused. Nothing was sent.
    mutating func refuse(_ token: UInt64, _ code: ZooKeeperError.Code) -> Completion? {
        guard let pending = removeInFlight(token) else { return nil }
        return Self.completion(
            of: pending, .failure(ZooKeeperError(code: code, path: pending.request.path, sent: false)))
    }

    // MARK: From the transport

    /// Handles a completion of the transport. Ignores an unknown token.
    mutating func complete(_ token: UInt64, error code: ZooKeeperError.Code?, reply: Reply?) -> Completion? {
        guard let pending = removeInFlight(token) else { return nil }
        if code?.leavesOutcomeUnknown != true, let sentAt = pending.sentAt {
            lastHeard = max(lastHeard ?? sentAt, sentAt)
        }
        guard let code else { return Self.completion(of: pending, .success(reply ?? .done), isArmed: true) }
        if code.leavesOutcomeUnknown || code == .sessionMoved, pending.request.isRead, code != .authenticationFailed {
            return requeue(pending)
        }
        // For `exists`, the response that there is no node also sets the watch; see "Watches" in <doc:OverTheCClient>.
        let isArmed = code == .noNode && pending.request.watch?.kind == .existence
        return Self.completion(
            of: pending, .failure(Self.error(for: pending, code, reply)), isArmed: isArmed, isOnMissingNode: isArmed)
    }

    /// Ends every request that was sent through a closed handle, because the transport will not call back.
    mutating func handleClosed() -> [Completion] {
        requests.values.filter { $0.sentAt != nil }.map(\.token).sorted().compactMap {
            complete($0, error: .closing, reply: nil)
        }
    }

    /// Notes that a server has accepted or kept the session at that moment.
    mutating func heard(at instant: ContinuousClock.Instant) { lastHeard = max(lastHeard ?? instant, instant) }

    // MARK: Closing

    /// Refuses further requests, and ends those that were not sent.
    mutating func close() -> [Completion] {
        isClosing = true
        let tokens = waiting
        waiting.removeAll()
        return tokens.compactMap { token in requests[token].flatMap { fail($0, Self.closed($0)) } }
    }

    /// Ends every request that was not sent, with an error for which waiting is pointless.
    mutating func failWaiting(_ code: ZooKeeperError.Code) -> [Completion] {
        let tokens = waiting
        waiting.removeAll()
        return tokens.compactMap { token in
            requests[token].flatMap { fail($0, ZooKeeperError(code: code, path: $0.request.path, sent: false)) }
        }
    }

    private mutating func fail(_ pending: PendingRequest, _ error: ZooKeeperError) -> Completion? {
        requests[pending.token] = nil
        return Self.completion(of: pending, .failure(error))
    }

    /// Removes a request that was in flight.
    private mutating func removeInFlight(_ token: UInt64) -> PendingRequest? {
        guard let pending = requests[token], pending.sentAt != nil else { return nil }
        requests[token] = nil
        inFlight -= 1
        inFlightBytes -= pending.size
        return pending
    }

    /// Returns a request to its position among the waiting ones, if its caller still waits for it.
    private mutating func requeue(_ pending: PendingRequest) -> Completion? {
        guard pending.waiter != nil else { return Self.completion(of: pending, .success(.done)) }
        if isClosing { return Self.completion(of: pending, .failure(Self.closed(pending))) }
        var pending = pending
        pending.sentAt = nil
        requests[pending.token] = pending
        let index = waiting.firstIndex { $0 > pending.token } ?? waiting.endIndex
        waiting.insert(pending.token, at: index)
        return nil
    }

    private static func completion(
        of pending: PendingRequest, _ result: ReplyResult, isArmed: Bool = false, isOnMissingNode: Bool = false
    ) -> Completion? {
        let watch = pending.request.watch.map { (key: $0, isArmed: isArmed, isOnMissingNode: isOnMissingNode) }
        if pending.waiter == nil, watch == nil { return nil }
        return Completion(waiter: pending.waiter, result: result, watch: watch)
    }

    private static func closed(_ pending: PendingRequest) -> ZooKeeperError {
        ZooKeeperError(
            code: .closed, message: "The ZooKeeper client is closed. Create another one.", path: pending.request.path,
            outcome: .notApplied)
    }

    private static func error(
        for pending: PendingRequest, _ code: ZooKeeperError.Code, _ reply: Reply?
    ) -> ZooKeeperError {
        guard case .multi(let operations) = pending.request, case .multiFailed(let index)? = reply,
            operations.indices.contains(index)
        else { return ZooKeeperError(code: code, path: pending.request.path, sent: true) }
        return ZooKeeperError(code: code, path: operations[index].path, operationIndex: index, sent: true)
    }
}
