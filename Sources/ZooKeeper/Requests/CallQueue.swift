import DequeModule

/// Every call of a client from its submission to its completion: a value, apart from the library that is driven by it.
///
/// A call can transition:
/// waiting → in flight → completed;
/// waiting → completed (cancelled, deadline passed, client closed: definite, nothing was sent);
/// in flight → waiting (a read whose answer was lost, or a request that the library would not take just now);
/// in flight → abandoned (cancelled, deadline passed) → forgotten, when the library calls back.
///
/// Methods return the waiter to resume, which is done after the lock around this value has been left.
struct CallQueue {
    /// What follows from the end of a call, or of its waiting.
    struct Completion {
        /// Who waits, and what it is told.
        let waiter: Waiter?
        let result: ReplyResult
        /// The watch that the call asked for, when the call itself has ended, and whether the library has set it.
        var watch: (key: WatchKey, isArmed: Bool)?
    }

    private var calls: [UInt64: Call] = [:]
    /// Tokens of waiting calls, in the order of their submission. It may hold tokens of calls that are gone.
    private var waiting: Deque<UInt64> = []
    /// How many of them are still there.
    private var waitingCount: Int { calls.count - inFlight }
    private(set) var inFlight = 0
    private var inFlightBytes = 0
    private var isClosing = false
    /// When the last request was sent to which a server has answered: the session lived at that moment.
    private(set) var lastHeard: ContinuousClock.Instant?

    private let window: Int
    private let windowBytes: Int
    private let maximumWaiting: Int

    init(window: Int, windowBytes: Int, maximumWaiting: Int) {
        self.window = window
        self.windowBytes = windowBytes
        self.maximumWaiting = maximumWaiting
    }

    /// Whether a call waits that could be sent now.
    var hasWork: Bool { !waiting.isEmpty && inFlight < window }
    /// Whether nothing is known of any call.
    var isEmpty: Bool { calls.isEmpty }

    // MARK: From callers

    /// Takes a call; a completion is returned when it is refused at once.
    mutating func submit(_ call: Call) -> Completion? {
        if isClosing { return Self.completion(of: call, .failure(Self.closed(call))) }
        if waitingCount >= maximumWaiting {
            let error = ZooKeeperError(
                code: .overloaded, message: "\(maximumWaiting) calls wait to be sent already: wait for some of them.",
                path: call.request.path, outcome: .notApplied)
            return Self.completion(of: call, .failure(error))
        }
        calls[call.token] = call
        // While nothing can be sent, calls that were given up would pile up.
        if waiting.count > 2 * waitingCount + 1_000 { waiting.removeAll { calls[$0] == nil } }
        waiting.append(call.token)
        return nil
    }

    /// The caller's task was cancelled: its waiter goes, and nothing else.
    mutating func cancel(_ token: UInt64) -> Completion? {
        abandon(token) { _ in CancellationError() }
    }

    /// Ends every call whose deadline has passed; says when the next one does.
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

    private mutating func abandon(_ token: UInt64, with error: (Call) -> any Error) -> Completion? {
        guard var call = calls[token], call.waiter != nil,
            var completion = Self.completion(of: call, .failure(error(call)))
        else { return nil }
        call.waiter = nil
        if call.sentAt == nil {
            calls[token] = nil
        } else {
            calls[token] = call
            // The library will still call back, and sets the watch then.
            completion.watch = nil
        }
        return completion
    }

    // MARK: To the library

    /// Takes a call that is handed to the library at once, before those that wait.
    mutating func begin(_ call: Call) {
        var call = call
        call.sentAt = .now
        calls[call.token] = call
        inFlight += 1
        inFlightBytes += call.size
    }

    /// The next call to hand to the library, which counts as in flight from here on: its completion may run before
    /// the library's function has returned.
    mutating func nextToSend(now: ContinuousClock.Instant) -> Call? {
        while inFlight < window, let token = waiting.first {
            guard var call = calls[token] else {
                waiting.removeFirst()
                continue
            }
            // One request is always let through, or a large one would wait for ever.
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

    /// The library did not take it, since it is not connected just now: nothing was sent.
    mutating func postpone(_ token: UInt64) -> Completion? {
        guard let call = land(token) else { return nil }
        return requeue(call)
    }

    /// The library refused it: nothing was sent.
    mutating func refuse(_ token: UInt64, _ code: ZooKeeperError.Code) -> Completion? {
        guard let call = land(token) else { return nil }
        return Self.completion(of: call, .failure(ZooKeeperError(code: code, path: call.request.path, sent: false)))
    }

    // MARK: From the library

    /// The library called back. A token that is not known any more is ignored.
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
        // A watch is set by a good answer, and for existence also by the answer that there is no node (rule 12).
        let isArmed = code == .noNode && call.request.watch?.kind == .existence
        return Self.completion(of: call, .failure(Self.error(for: call, code: code)), isArmed: isArmed)
    }

    /// The handle is closed, so the library will call back for nothing that was sent through it.
    mutating func handleClosed() -> [Completion] {
        calls.values.filter { $0.sentAt != nil }.map(\.token).sorted().compactMap {
            complete($0, code: ZooKeeperError.Code.closing.rawValue, reply: nil)
        }
    }

    /// A server has accepted or kept the session at that moment.
    mutating func heard(at instant: ContinuousClock.Instant) { lastHeard = max(lastHeard ?? instant, instant) }

    // MARK: The end

    /// Takes no more calls, and ends those that were not sent.
    mutating func close() -> [Completion] {
        isClosing = true
        let tokens = waiting
        waiting.removeAll()
        return tokens.compactMap { token in calls[token].flatMap { fail($0, Self.closed($0)) } }
    }

    /// Ends every call that was not sent, with an error that makes waiting pointless.
    mutating func failWaiting(_ code: ZooKeeperError.Code) -> [Completion] {
        let tokens = waiting
        waiting.removeAll()
        return tokens.compactMap { token in
            calls[token].flatMap { fail($0, ZooKeeperError(code: code, path: $0.request.path, sent: false)) }
        }
    }

    private mutating func fail(_ call: Call, _ error: ZooKeeperError) -> Completion? {
        calls[call.token] = nil
        return Self.completion(of: call, .failure(error))
    }

    /// Takes a call that was in flight out of the books.
    private mutating func land(_ token: UInt64) -> Call? {
        guard let call = calls[token], call.sentAt != nil else { return nil }
        calls[token] = nil
        inFlight -= 1
        inFlightBytes -= call.size
        return call
    }

    /// Puts a call back to its place among those that wait, if somebody still waits for it.
    private mutating func requeue(_ call: Call) -> Completion? {
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

    private static func completion(of call: Call, _ result: ReplyResult, isArmed: Bool = false) -> Completion? {
        let watch = call.request.watch.map { (key: $0, isArmed: isArmed) }
        if call.waiter == nil, watch == nil { return nil }
        return Completion(waiter: call.waiter, result: result, watch: watch)
    }

    private static func closed(_ call: Call) -> ZooKeeperError {
        ZooKeeperError(
            code: .closed, message: "The ZooKeeper client is closed: use a new one.", path: call.request.path,
            outcome: .notApplied)
    }

    private static func error(for call: Call, code: ZooKeeperError.Code) -> ZooKeeperError {
        guard let multi = call.multi, !code.leavesOutcomeUnknown, let failed = multi.failure() else {
            return ZooKeeperError(code: code, path: call.request.path, sent: true)
        }
        return ZooKeeperError(code: failed.code, path: failed.path, operationIndex: failed.index, sent: true)
    }
}
