import Testing

@testable import ZooKeeper

/// The state machine of the requests, driven as the C client drives it.
@Suite(.timeLimit(.minutes(1)))
struct RequestStateMachineTests {
    private let watches = WatchTable()

    private func requests(window: Int = 10, bytes: Int = 1 << 20, waiting: Int = 100) -> RequestRegistry {
        RequestRegistry(
            queue: RequestStateMachine(window: window, windowBytes: bytes, maximumWaiting: waiting), watches: watches,
            hint: { "hint" })
    }

    /// Submits a request and waits for its result.
    private func call(
        _ requests: RequestRegistry, _ token: UInt64, _ request: Request = .get(path: "/a", watch: false),
        within: Duration = .seconds(30)
    ) async throws -> Reply {
        let pending = ReplyPromise()
        requests.submit(
            PendingRequest(token: token, request: request, deadline: .now + within, waiter: .reply(pending)))
        return try await pending.value
    }

    /// Sends the given number of requests. Waits for each, because its task may not have submitted it yet.
    private func sent(_ requests: RequestRegistry, _ count: Int) async -> [UInt64] {
        var tokens: [UInt64] = []
        while tokens.count < count {
            if let next = requests.read({ $0.nextToSend(now: .now) }) {
                tokens.append(next.token)
            } else {
                await Task.yield()
            }
        }
        return tokens
    }

    private let write = Request.set(path: "/a", data: [1], version: nil)
    private let loss = ZooKeeperError.Code.connectionLoss

    @Test("A request completes exactly once")
    func completesOnce() async throws {
        let requests = requests()
        async let reply = call(requests, 1)
        #expect(await sent(requests, 1) == [1])
        requests.update { $0.complete(1, error: nil, reply: .stat(Stat(version: 7))) }
        // A second completion, and one with an unknown token, have no effect.
        requests.update { $0.complete(1, error: nil, reply: nil) }
        requests.update { $0.complete(99, error: .connectionLoss, reply: nil) }
        guard case .stat(let stat) = try await reply else {
            Issue.record("The reply is not the one that the server gave.")
            return
        }
        #expect(stat.version == 7)
        #expect(requests.read { $0.isEmpty && $0.inFlight == 0 })
    }

    @Test("The number of requests in flight is limited")
    func inFlightLimit() async throws {
        let requests = requests(window: 2)
        let tasks = (1...5).map { token in Task { try await call(requests, UInt64(token)) } }
        for _ in 0..<2 {
            let tokens = await sent(requests, 2)
            #expect(requests.read { $0.nextToSend(now: .now) }?.token == nil)
            for token in tokens { requests.update { $0.complete(token, error: nil, reply: nil) } }
        }
        for token in await sent(requests, 1) { requests.update { $0.complete(token, error: nil, reply: nil) } }
        for task in tasks { _ = try await task.value }
    }

    @Test("The bytes in flight are limited, but a single request may exceed the limit")
    func inFlightByteLimit() async throws {
        let requests = requests(bytes: 1_000)
        let large = Request.set(path: "/a", data: .init(repeating: 0, count: 5_000), version: nil)
        async let first = call(requests, 1, large)
        #expect(await sent(requests, 1) == [1])
        async let second = call(requests, 2)
        while !requests.read({ $0.hasWork }) { await Task.yield() }
        #expect(requests.read { $0.nextToSend(now: .now) }?.token == nil)
        requests.update { $0.complete(1, error: nil, reply: nil) }
        #expect(await sent(requests, 1) == [2])
        requests.update { $0.complete(2, error: nil, reply: nil) }
        _ = try await (first, second)
    }

    @Test("Reads whose replies were lost are sent again in their original order")
    func repeatedReads() async throws {
        let requests = requests()
        let tasks = (1...3).map { token in Task { try await call(requests, UInt64(token)) } }
        _ = await sent(requests, 3)
        for token in [2, 1, 3] as [UInt64] { requests.update { $0.complete(token, error: loss, reply: nil) } }
        #expect(await sent(requests, 3) == [1, 2, 3])
        for token in 1...3 as ClosedRange<UInt64> { requests.update { $0.complete(token, error: nil, reply: nil) } }
        for task in tasks { _ = try await task.value }
    }

    @Test(
        "A write whose reply was lost has an unknown outcome",
        arguments: [-4, -7, -112, -115, -116, -2].map(ZooKeeperError.Code.init(rawValue:)))
    func lostReply(code: ZooKeeperError.Code) async throws {
        let requests = requests()
        let task = Task { try await call(requests, 1, write) }
        _ = await sent(requests, 1)
        requests.update { $0.complete(1, error: code, reply: nil) }
        await expect(code, outcome: .unknown) { _ = try await task.value }
    }

    @Test(
        "A write that the server refused was not applied",
        arguments: [-101, -102, -103, -110, -111, -118, -127].map(ZooKeeperError.Code.init(rawValue:)))
    func refusedWrite(code: ZooKeeperError.Code) async throws {
        let requests = requests()
        let task = Task { try await call(requests, 1, write) }
        _ = await sent(requests, 1)
        requests.update { $0.complete(1, error: code, reply: nil) }
        await expect(code, outcome: .notApplied) { _ = try await task.value }
    }

    @Test("A request that is cancelled before it is sent is never sent")
    func cancelledBeforeSending() async throws {
        let requests = requests()
        let task = Task { try await call(requests, 1, write) }
        while !requests.read({ $0.hasWork }) { await Task.yield() }
        requests.update { $0.cancel(1) }
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(requests.read { $0.nextToSend(now: .now) }?.token == nil)
        #expect(requests.read { $0.isEmpty })
    }

    @Test("A request that is cancelled in flight stays until the C client calls back")
    func cancelledInFlight() async throws {
        let requests = requests()
        let task = Task { try await call(requests, 1, .multi([.set("/a", data: [1])])) }
        _ = await sent(requests, 1)
        requests.update { $0.cancel(1) }
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(requests.read { !$0.isEmpty && $0.inFlight == 1 })
        requests.update { $0.complete(1, error: nil, reply: nil) }
        #expect(requests.read { $0.isEmpty && $0.inFlight == 0 })
    }

    @Test("After a deadline, only a write that was sent has an unknown outcome")
    func deadlines() async throws {
        let requests = requests(window: 1)
        // One second is enough to send the request before its deadline, even on a busy machine.
        let sentWrite = Task { try await call(requests, 1, write, within: .seconds(1)) }
        _ = await sent(requests, 1)
        await expect(.deadlineExceeded, outcome: .unknown) { _ = try await sentWrite.value }
        await expect(.deadlineExceeded, outcome: .notApplied) {
            _ = try await call(requests, 2, write, within: .milliseconds(10))
        }
        await expect(.deadlineExceeded, outcome: .notApplied) { _ = try await call(requests, 3, within: .zero) }
        #expect(requests.read { $0.inFlight } == 1)
    }

    @Test("A deadline ends its request, however short it is")
    func shortDeadlines() async throws {
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

    @Test("A request that the C client did not accept keeps its position")
    func postponedRequest() async throws {
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

    @Test("Closing ends the requests that were not sent, and refuses new ones")
    func closing() async throws {
        let requests = requests(window: 1)
        let inFlight = Task { try await call(requests, 1) }
        _ = await sent(requests, 1)
        let waiting = Task { try await call(requests, 2, write) }
        while requests.read({ $0.isEmpty }) { await Task.yield() }
        requests.updateAll { $0.close() }
        await expect(.closed, outcome: .notApplied) { _ = try await call(requests, 3) }
        await expect(.closed, outcome: .notApplied) { _ = try await waiting.value }
        requests.update { $0.complete(1, error: loss, reply: nil) }
        await expect(.closed) { _ = try await inFlight.value }
        #expect(requests.read { $0.isEmpty })
    }

    @Test("The number of waiting requests is limited")
    func waitingLimit() async throws {
        let requests = requests(waiting: 1)
        let first = Task { try await call(requests, 1) }
        while !requests.read({ $0.hasWork }) { await Task.yield() }
        await expect(.overloaded, outcome: .notApplied) { _ = try await call(requests, 2) }
        requests.update { $0.cancel(1) }
        await #expect(throws: CancellationError.self) { try await first.value }
    }

    @Test("A watch counts as set only after a reply that sets it")
    func watchesByReply() async throws {
        for (code, request, isArmed) in [
            (nil, .get(path: "/w", watch: true), true), (.noNode, .get(path: "/w", watch: true), false),
            (.noNode, .exists(path: "/w", watch: true), true), (.noAuth, .children(path: "/w", watch: true), false),
        ] as [(ZooKeeperError.Code?, Request, Bool)] {
            let requests = requests()
            let key = try #require(request.watch)
            try watches.reserve(key)
            let task = Task { try await call(requests, 1, request) }
            _ = await sent(requests, 1)
            // The reply counts although the caller no longer waits.
            requests.update { $0.cancel(1) }
            _ = await task.result
            requests.update { $0.complete(1, error: code, reply: nil) }
            #expect((watches.watchedBytes > 0) == isArmed, "\(String(describing: code)) \(request)")
            watches.received(WatchEvent(kind: .deleted, path: "/w"))
            #expect(watches.watchedBytes == 0)
        }
    }

    @Test("The last contact is the time at which the last answered request was sent")
    func lastHeard() async throws {
        let requests = requests()
        let task = Task { try await call(requests, 1, write) }
        while !requests.read({ $0.hasWork }) { await Task.yield() }
        let sentAt = ContinuousClock.now
        _ = requests.read { $0.nextToSend(now: sentAt) }
        #expect(requests.read { $0.lastHeard } == nil)
        requests.update { $0.complete(1, error: .badVersion, reply: nil) }
        // This is the time of sending, not the time of the reply.
        #expect(requests.read { $0.lastHeard } == sentAt)
        _ = await task.result
        let lost = Task { try await call(requests, 2, write) }
        _ = await sent(requests, 1)
        requests.update { $0.complete(2, error: loss, reply: nil) }
        _ = await lost.result
        #expect(requests.read { $0.lastHeard } == sentAt)
    }
}
