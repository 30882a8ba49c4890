import Testing

@testable import ZooKeeper

/// The calls' state machine, driven as the library would.
@Suite(.timeLimit(.minutes(1)))
struct RequestStateMachineTests {
    private let watches = WatchTable()

    private func requests(window: Int = 10, bytes: Int = 1 << 20, waiting: Int = 100) -> RequestRegistry {
        RequestRegistry(
            queue: RequestStateMachine(window: window, windowBytes: bytes, maximumWaiting: waiting), watches: watches,
            hint: { "hint" })
    }

    /// Submits a call and waits for its end.
    private func call(
        _ requests: RequestRegistry, _ token: UInt64, _ request: Request = .get(path: "/a", watch: false),
        within: Duration = .seconds(30)
    ) async throws -> Reply {
        let pending = ReplyPromise()
        requests.submit(
            PendingRequest(token: token, request: request, deadline: .now + within, waiter: .reply(pending)))
        return try await pending.value
    }

    /// Waits until so many calls have been submitted: the submitting tasks run when they run.
    private func sent(_ requests: RequestRegistry, _ count: Int) async -> [UInt64] {
        var tokens: [UInt64] = []
        while tokens.count < count {
            if let call = requests.read({ $0.nextToSend(now: .now) }) {
                tokens.append(call.token)
            } else {
                await Task.yield()
            }
        }
        return tokens
    }

    private let write = Request.set(path: "/a", data: [1], version: nil)
    private let loss = ZooKeeperError.Code.connectionLoss.rawValue

    @Test func aCallIsCompletedExactlyOnce() async throws {
        let requests = requests()
        async let reply = call(requests, 1)
        #expect(await sent(requests, 1) == [1])
        requests.update { $0.complete(1, code: 0, reply: .stat(Stat(version: 7))) }
        // What comes again, or belongs to nobody, finds nothing.
        requests.update { $0.complete(1, code: 0, reply: nil) }
        requests.update { $0.complete(99, code: -4, reply: nil) }
        guard case .stat(let stat) = try await reply else {
            Issue.record("not the answer that was given")
            return
        }
        #expect(stat.version == 7)
        #expect(requests.read { $0.isEmpty && $0.inFlight == 0 })
    }

    @Test func theWindowBoundsWhatIsInFlight() async throws {
        let requests = requests(window: 2)
        let tasks = (1...5).map { token in Task { try await call(requests, UInt64(token)) } }
        for _ in 0..<2 {
            let tokens = await sent(requests, 2)
            #expect(requests.read { $0.nextToSend(now: .now) }?.token == nil)
            for token in tokens { requests.update { $0.complete(token, code: 0, reply: nil) } }
        }
        for token in await sent(requests, 1) { requests.update { $0.complete(token, code: 0, reply: nil) } }
        for task in tasks { _ = try await task.value }
    }

    @Test func bytesBoundTheWindowTooButOneIsAlwaysLetThrough() async throws {
        let requests = requests(bytes: 1_000)
        let large = Request.set(path: "/a", data: .init(repeating: 0, count: 5_000), version: nil)
        async let first = call(requests, 1, large)
        #expect(await sent(requests, 1) == [1])
        async let second = call(requests, 2)
        while !requests.read({ $0.hasWork }) { await Task.yield() }
        #expect(requests.read { $0.nextToSend(now: .now) }?.token == nil)
        requests.update { $0.complete(1, code: 0, reply: nil) }
        #expect(await sent(requests, 1) == [2])
        requests.update { $0.complete(2, code: 0, reply: nil) }
        _ = try await (first, second)
    }

    @Test func aReadWhoseAnswerWasLostIsAskedAgainInItsPlace() async throws {
        let requests = requests()
        let tasks = (1...3).map { token in Task { try await call(requests, UInt64(token)) } }
        _ = await sent(requests, 3)
        for token in [2, 1, 3] as [UInt64] { requests.update { $0.complete(token, code: loss, reply: nil) } }
        #expect(await sent(requests, 3) == [1, 2, 3])
        for token in 1...3 as ClosedRange<UInt64> { requests.update { $0.complete(token, code: 0, reply: nil) } }
        for task in tasks { _ = try await task.value }
    }

    @Test(arguments: [-4, -7, -112, -115, -116, -2] as [Int32])
    func aWriteWhoseAnswerWasLostIsOfUnknownOutcome(code: Int32) async throws {
        let requests = requests()
        let task = Task { try await call(requests, 1, write) }
        _ = await sent(requests, 1)
        requests.update { $0.complete(1, code: code, reply: nil) }
        await expect(.init(rawValue: code), outcome: .unknown) { _ = try await task.value }
    }

    @Test(arguments: [-101, -102, -103, -110, -111, -118, -127] as [Int32])
    func aServersRefusalIsDefinite(code: Int32) async throws {
        let requests = requests()
        let task = Task { try await call(requests, 1, write) }
        _ = await sent(requests, 1)
        requests.update { $0.complete(1, code: code, reply: nil) }
        await expect(.init(rawValue: code), outcome: .notApplied) { _ = try await task.value }
    }

    @Test func cancellingBeforeSendingTakesTheCallBack() async throws {
        let requests = requests()
        let task = Task { try await call(requests, 1, write) }
        while !requests.read({ $0.hasWork }) { await Task.yield() }
        requests.update { $0.cancel(1) }
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(requests.read { $0.nextToSend(now: .now) }?.token == nil)
        #expect(requests.read { $0.isEmpty })
    }

    @Test func cancellingAfterSendingKeepsTheEntryUntilTheLibraryCallsBack() async throws {
        let requests = requests()
        let task = Task { try await call(requests, 1, .multi([.set("/a", data: [1])])) }
        _ = await sent(requests, 1)
        requests.update { $0.cancel(1) }
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(requests.read { !$0.isEmpty && $0.inFlight == 1 })
        requests.update { $0.complete(1, code: 0, reply: nil) }
        #expect(requests.read { $0.isEmpty && $0.inFlight == 0 })
    }

    @Test func deadlinesEndCallsWithWhatIsKnownOfThem() async throws {
        let requests = requests(window: 1)
        // Long enough to be sent before it passes, also on a machine that is busy.
        let sentWrite = Task { try await call(requests, 1, write, within: .seconds(1)) }
        _ = await sent(requests, 1)
        await expect(.deadlineExceeded, outcome: .unknown) { _ = try await sentWrite.value }
        await expect(.deadlineExceeded, outcome: .notApplied) {
            _ = try await call(requests, 2, write, within: .milliseconds(10))
        }
        await expect(.deadlineExceeded, outcome: .notApplied) { _ = try await call(requests, 3, within: .zero) }
        #expect(requests.read { $0.inFlight } == 1)
    }

    @Test func noDeadlineIsMissedHoweverShort() async throws {
        let requests = requests(waiting: 10_000)
        await withTaskGroup(of: Void.self) { group in
            for token in 1...2_000 {
                group.addTask {
                    await expect(.deadlineExceeded) {
                        _ = try await call(requests, UInt64(token), within: .microseconds(token % 7 * 200))
                    }
                }
            }
        }
        #expect(requests.read { $0.isEmpty })
    }

    @Test func aRequestThatTheLibraryWouldNotTakeKeepsItsPlace() async throws {
        let requests = requests()
        let first = Task { try await call(requests, 1, write) }
        _ = await sent(requests, 1)
        let second = Task { try await call(requests, 2, write) }
        while !requests.read({ $0.hasWork }) { await Task.yield() }
        requests.update { $0.postpone(1) }
        #expect(await sent(requests, 2) == [1, 2])
        requests.update { $0.refuse(1, .badArguments) }
        await expect(.badArguments, outcome: .notApplied) { _ = try await first.value }
        requests.updateAll { $0.handleClosed() }
        await expect(.closing, outcome: .unknown) { _ = try await second.value }
    }

    @Test func closingRefusesNewCallsAndThoseNotSent() async throws {
        let requests = requests(window: 1)
        let inFlight = Task { try await call(requests, 1) }
        _ = await sent(requests, 1)
        let waiting = Task { try await call(requests, 2, write) }
        while requests.read({ $0.isEmpty }) { await Task.yield() }
        requests.updateAll { $0.close() }
        await expect(.closed, outcome: .notApplied) { _ = try await call(requests, 3) }
        await expect(.closed, outcome: .notApplied) { _ = try await waiting.value }
        requests.update { $0.complete(1, code: loss, reply: nil) }
        await expect(.closed) { _ = try await inFlight.value }
        #expect(requests.read { $0.isEmpty })
    }

    @Test func tooManyWaitingCallsAreRefused() async throws {
        let requests = requests(waiting: 1)
        let first = Task { try await call(requests, 1) }
        while !requests.read({ $0.hasWork }) { await Task.yield() }
        await expect(.overloaded, outcome: .notApplied) { _ = try await call(requests, 2) }
        requests.update { $0.cancel(1) }
        await #expect(throws: CancellationError.self) { try await first.value }
    }

    @Test func watchesAreSetByTheAnswersThatSetThem() async throws {
        for (code, request, isArmed) in [
            (0, Request.get(path: "/w", watch: true), true), (-101, .get(path: "/w", watch: true), false),
            (-101, .exists(path: "/w", watch: true), true), (-102, .children(path: "/w", watch: true), false),
        ] as [(Int32, Request, Bool)] {
            let requests = requests()
            let key = try #require(request.watch)
            try watches.reserve(key)
            let task = Task { try await call(requests, 1, request) }
            _ = await sent(requests, 1)
            // Also when nobody waits any more.
            requests.update { $0.cancel(1) }
            _ = await task.result
            requests.update { $0.complete(1, code: code, reply: nil) }
            #expect((watches.watchedBytes > 0) == isArmed, "\(code) \(request)")
            watches.received(WatchEvent(kind: .deleted, path: "/w"))
            #expect(watches.watchedBytes == 0)
        }
    }

    @Test func theLastAnsweredRequestSaysWhenTheSessionLived() async throws {
        let requests = requests()
        let task = Task { try await call(requests, 1, write) }
        while !requests.read({ $0.hasWork }) { await Task.yield() }
        let sentAt = ContinuousClock.now
        _ = requests.read { $0.nextToSend(now: sentAt) }
        #expect(requests.read { $0.lastHeard } == nil)
        requests.update { $0.complete(1, code: -103, reply: nil) }
        // The time of sending, not of the answer.
        #expect(requests.read { $0.lastHeard } == sentAt)
        _ = await task.result
        let lost = Task { try await call(requests, 2, write) }
        _ = await sent(requests, 1)
        requests.update { $0.complete(2, code: loss, reply: nil) }
        _ = await lost.result
        #expect(requests.read { $0.lastHeard } == sentAt)
    }
}
