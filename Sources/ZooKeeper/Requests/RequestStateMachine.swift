import DequeModule

/// The state machine of all requests of a client, from submission to completion. It is a value, and
/// never calls the C client itself.
///
/// A request has these transitions:
///
/// - waiting → in flight → completed
/// - waiting → completed, when it was cancelled, its deadline has passed, or the client was closed. The outcome is
///   definite, because nothing was sent.
/// - in flight → waiting, for a read whose response was lost, and for a request that the C client did not
///   accept because it was not connected
/// - in flight → abandoned, when it was cancelled or its deadline has passed
/// - abandoned → removed, when the C client calls back
///
/// Methods return the waiter, which the caller resumes after it has released the lock around this value.
struct RequestStateMachine {
    /// The consequence when a request ends, or when its caller stops waiting.
    struct Completion {
        /// The waiter to resume with the result.
        let waiter: Waiter?
        let result: ReplyResult
        /// The request's watch, and whether the C client has set it. `nil` when the request sets no watch, and when
        /// only its caller has stopped waiting.
        var watch: (key: WatchKey, isArmed: Bool)?
    }

    private var calls: [UInt64: PendingRequest] = [:]
    /// The tokens of waiting requests, in the order of submission. Tokens of removed requests may remain in it.
    private var waiting: Deque<UInt64> = []
    /// The number of requests that still wait.
    private var waitingCount: Int { calls.count - inFlight }
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
    var isEmpty: Bool { calls.isEmpty }

    // MARK: From callers

    /// Adds a request. Returns a completion when the request is refused immediately.
    mutating func submit(_ call: PendingRequest) -> Completion? {
        if isClosing { return Self.completion(of: call, .failure(Self.closed(call))) }
        if waitingCount >= maximumWaiting {
            let error = ZooKeeperError(
                code: .overloaded, message: "\(maximumWaiting) calls wait to be sent already: wait for some of them.",
                path: call.request.path, outcome: .notApplied)
            return Self.completion(of: call, .failure(error))
        }
        calls[call.token] = call
        // While nothing can be sent, the tokens of abandoned requests would accumulate.
        if waiting.count > 2 * waitingCount + 1_000 { waiting.removeAll { calls[$0] == nil } }
        waiting.append(call.token)
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
        for call in calls.values where call.waiter != nil {
            if call.deadline <= now {
                let completion = abandon(call.token) { call in
                    ZooKeeperError(
                        code: .deadlineExceeded,
                        message: "No answer came before the call's deadline. \(hint)", path: call.request.path,
                        outcome: call.sentAt == nil || call.request.isRead ? .notApplied : .unknown)
                }
                if let completion { completions.append(completion) }
            } else if next.map({ call.deadline < $0 }) ?? true {
                next = call.deadline
            }
        }
        return (completions, next)
    }

    private mutating func abandon(_ token: UInt64, with error: (PendingRequest) -> any Error) -> Completion? {
        guard var call = calls[token], call.waiter != nil,
            var completion = Self.completion(of: call, .failure(error(call)))
        else { return nil }
        call.waiter = nil
        if call.sentAt == nil {
            calls[token] = nil
        } else {
            calls[token] = call
            // The C client will still call back, and that completion settles the watch.
            completion.watch = nil
        }
        return completion
    }

    // MARK: To the C client

    /// Adds a request that is passed to the C client at once, ahead of the waiting ones.
    mutating func begin(_ call: PendingRequest) {
        var call = call
        call.sentAt = .now
        calls[call.token] = call
        inFlight += 1
        inFlightBytes += call.size
    }

    /// Returns the next request to pass to the C client. The request counts as in flight from now on, because its
    /// completion may run before the C client's function has returned.
    mutating func nextToSend(now: ContinuousClock.Instant) -> PendingRequest? {
        while inFlight < window, let token = waiting.first {
            guard var call = calls[token] else {
                waiting.removeFirst()
                continue
            }
            // One request is always allowed, because one larger than the limit would wait forever.
            if inFlight > 0, inFlightBytes + call.size > windowBytes { return nil }
            waiting.removeFirst()
            call.sentAt = now
            if case .multi(let operations) = call.request { call.multi = MultiBuffers(operations) }
            calls[token] = call
            inFlight += 1
            inFlightBytes += call.size
            return call
        }
        return nil
    }

    /// Puts back a request that the C client did not accept because it is not connected. Nothing was sent.
    mutating func postpone(_ token: UInt64) -> Completion? {
        guard let call = land(token) else { return nil }
        return requeue(call)
    }

    /// Ends a request that the C client refused. Nothing was sent.
    mutating func refuse(_ token: UInt64, _ code: ZooKeeperError.Code) -> Completion? {
        guard let call = land(token) else { return nil }
        return Self.completion(of: call, .failure(ZooKeeperError(code: code, path: call.request.path, sent: false)))
    }

    // MARK: From the C client

    /// Handles a completion of the C client. Ignores an unknown token.
    mutating func complete(_ token: UInt64, code: Int32, reply: Reply?) -> Completion? {
        guard let call = land(token) else { return nil }
        let code = ZooKeeperError.Code(rawValue: code)
        if !code.leavesOutcomeUnknown, let sentAt = call.sentAt { lastHeard = max(lastHeard ?? sentAt, sentAt) }
        if code.rawValue == 0 {
            if let multi = call.multi { return Self.completion(of: call, .success(.multi(multi.outcome()))) }
            return Self.completion(of: call, .success(reply ?? .done), isArmed: true)
        }
        if code.leavesOutcomeUnknown || code == .sessionMoved, call.request.isRead, code != .authenticationFailed {
            return requeue(call)
        }
        // For `exists`, the response that there is no node also sets the watch; see "Watches" in <doc:OverTheCClient>.
        let isArmed = code == .noNode && call.request.watch?.kind == .existence
        return Self.completion(of: call, .failure(Self.error(for: call, code: code)), isArmed: isArmed)
    }

    /// Ends every request that was sent through a closed handle, because the C client will not call back.
    mutating func handleClosed() -> [Completion] {
        calls.values.filter { $0.sentAt != nil }.map(\.token).sorted().compactMap {
            complete($0, code: ZooKeeperError.Code.closing.rawValue, reply: nil)
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
        return tokens.compactMap { token in calls[token].flatMap { fail($0, Self.closed($0)) } }
    }

    /// Ends every request that was not sent, with an error for which waiting is pointless.
    mutating func failWaiting(_ code: ZooKeeperError.Code) -> [Completion] {
        let tokens = waiting
        waiting.removeAll()
        return tokens.compactMap { token in
            calls[token].flatMap { fail($0, ZooKeeperError(code: code, path: $0.request.path, sent: false)) }
        }
    }

    private mutating func fail(_ call: PendingRequest, _ error: ZooKeeperError) -> Completion? {
        calls[call.token] = nil
        return Self.completion(of: call, .failure(error))
    }

    /// Removes a request that was in flight.
    private mutating func land(_ token: UInt64) -> PendingRequest? {
        guard let call = calls[token], call.sentAt != nil else { return nil }
        calls[token] = nil
        inFlight -= 1
        inFlightBytes -= call.size
        return call
    }

    /// Returns a request to its position among the waiting ones, if its caller still waits for it.
    private mutating func requeue(_ call: PendingRequest) -> Completion? {
        guard call.waiter != nil else { return Self.completion(of: call, .success(.done)) }
        if isClosing { return Self.completion(of: call, .failure(Self.closed(call))) }
        var call = call
        call.sentAt = nil
        call.multi = nil
        calls[call.token] = call
        let index = waiting.firstIndex { $0 > call.token } ?? waiting.endIndex
        waiting.insert(call.token, at: index)
        return nil
    }

    private static func completion(of call: PendingRequest, _ result: ReplyResult, isArmed: Bool = false) -> Completion?
    {
        let watch = call.request.watch.map { (key: $0, isArmed: isArmed) }
        if call.waiter == nil, watch == nil { return nil }
        return Completion(waiter: call.waiter, result: result, watch: watch)
    }

    private static func closed(_ call: PendingRequest) -> ZooKeeperError {
        ZooKeeperError(
            code: .closed, message: "The ZooKeeper client is closed: use a new one.", path: call.request.path,
            outcome: .notApplied)
    }

    private static func error(for call: PendingRequest, code: ZooKeeperError.Code) -> ZooKeeperError {
        guard let multi = call.multi, !code.leavesOutcomeUnknown, let failed = multi.failure() else {
            return ZooKeeperError(code: code, path: call.request.path, sent: true)
        }
        return ZooKeeperError(code: failed.code, path: failed.path, operationIndex: failed.index, sent: true)
    }
}
