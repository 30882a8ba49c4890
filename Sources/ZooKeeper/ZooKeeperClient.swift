public import CoreMetrics
public import Logging
public import ServiceLifecycle
import Synchronization

/// An async client of a ZooKeeper ensemble, over the C client `libzookeeper_mt`, or another ``ZooKeeperTransport``.
///
/// ```swift
/// try await ZooKeeperClient.withClient(configuration: .init(servers: "127.0.0.1:2181")) { zookeeper in
///     try await zookeeper.create("/greeting", data: Array("hello".utf8))
///     for try await node in zookeeper.dataUpdates(of: "/greeting") { print(node as Any) }
/// }
/// ```
///
/// The client connects at the first call, and reconnects automatically. When the ensemble has expired the session, the
/// client opens a new one and reports that in ``sessionStates``. The ephemeral nodes of the old session are gone then.
///
/// In a service, add the client to a `ServiceGroup` before the services that use it. The group then closes it after
/// them. Otherwise close it with ``close()``.
///
/// ### Every call
///
/// - Waits while there is no connection, and ends at its deadline at the latest.
/// - Throws ``ZooKeeperError``, whose ``ZooKeeperError/outcome`` says whether a write may nevertheless have been
///   applied. The client repeats a read whose response was lost.
/// - Throws `CancellationError` when its task is cancelled. Cancellation ends only the wait: a write that was
///   already sent may still be applied.
///
/// ### File descriptors and fork
///
/// The C client's socket and pipe are not close-on-exec. Start child processes with all other descriptors closed, as
/// swift-subprocess does, and do not use a client after `fork`.
public final class ZooKeeperClient: Sendable {
    package let configuration: ZooKeeperConfiguration
    let connection: Connection
    private let metrics: ClientMetrics
    let ephemerals = EphemeralBudget()
    private let isRunning = Mutex(false)

    /// Creates a client. It opens no connection before the first call, ``run()`` or the first use of ``sessionStates``.
    ///
    /// - Parameters:
    ///   - configuration: The ensemble's servers, and limits.
    ///   - logger: Receives the session's state changes and, rate-limited, the log lines of the C client. The C client
    ///     names no handle in its lines. With several clients in a process, any of their loggers may receive a line.
    ///   - metricsFactory: Where the client records its metrics. By default the process's factory.
    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/invalidArgument``) for a setting outside its limits.
    public init(
        configuration: ZooKeeperConfiguration,
        logger: Logger = Logger(label: "zookeeper"),
        metricsFactory: any MetricsFactory = MetricsSystem.factory
    ) throws {
        try configuration.validate()
        self.configuration = configuration
        metrics = ClientMetrics(factory: metricsFactory)
        connection = Connection(configuration: configuration, logger: logger, metrics: metrics)
    }

    deinit { connection.abandon() }

    /// Creates a client, passes it to `body`, and closes it when `body` has returned or thrown.
    ///
    /// - Throws: The errors of `body`, or ``ZooKeeperError`` for a setting outside its limits.
    public static func withClient<Result>(
        configuration: ZooKeeperConfiguration,
        logger: Logger = Logger(label: "zookeeper"),
        metricsFactory: any MetricsFactory = MetricsSystem.factory,
        _ body: (ZooKeeperClient) async throws -> Result
    ) async throws -> Result {
        let client = try ZooKeeperClient(configuration: configuration, logger: logger, metricsFactory: metricsFactory)
        do {
            let result = try await body(client)
            await client.close()
            return result
        } catch {
            await client.close()
            throw error
        }
    }

    /// Closes the session, which removes its ephemeral nodes at once. Refuses new calls, and waits at most three
    /// seconds for the calls that were already sent.
    ///
    /// Returns after at most five seconds, even when servers hang. The rest of the work then continues in the
    /// background, and a session that could not be closed expires at the ensemble. A second call waits for the first to
    /// finish. Cancellation has no effect.
    public func close() async {
        // A separate task, because cancellation of the caller must not reach it.
        await Task { await connection.close() }.value
    }

    /// The current state of the session.
    public var sessionState: SessionState { connection.session.current }

    /// The largest request that the client sends, in bytes: ``ZooKeeperConfiguration/maximumRequestSize``.
    public var maximumRequestSize: Int { configuration.maximumRequestSize }

    /// The session's state, now and after each change. Reading this property opens the connection.
    public var sessionStates: SessionStates {
        connection.start()
        return connection.session.states
    }

    // MARK: Requests

    /// Sends a request and waits for its response.
    ///
    /// - Parameter expected: Errors that are a valid response for the caller, and that the
    ///   metrics do not count as failures.
    func perform(
        _ request: Request, timeout: Duration?, expecting expected: [ZooKeeperError.Code] = [],
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> Reply {
        try Task.checkCancellation()
        try request.validate(maximumSize: configuration.maximumRequestSize)
        let start = ContinuousClock.now
        let deadline = start + self.deadline(timeout)
        try ephemerals.reserve(request, sessionID: sessionState.sessionID)
        if let watch = request.watch, try connection.watches.reserve(watch) {
            connection.onQueue { $0.removeAbandonedWatches() }
        }
        let token = connection.nextToken()
        var failed = true
        defer {
            metrics.ended(
                request.name, after: start.duration(to: .now), failed: failed,
                inFlight: connection.requests.read { $0.inFlight })
        }
        do {
            let promise = ReplyPromise()
            connection.submit(
                PendingRequest(token: token, request: request, deadline: deadline, waiter: .reply(promise)))
            let reply = try await withTaskCancellationHandler {
                // Captured, because the closure would otherwise run off the caller's actor, which wakes another thread.
                _ = isolation
                return try await promise.value
            } onCancel: {
                cancel(token)
            }
            failed = false
            ephemerals.applied(request, reply, sessionID: sessionState.sessionID)
            return reply
        } catch let error as ZooKeeperError {
            if error.outcome == .notApplied { ephemerals.release(request, sessionID: sessionState.sessionID) }
            failed = !expected.contains(error.code)
            throw failed ? namingMissingNode(error, request) : error
        }
    }

    /// Sends requests that neither watch nor create, all at once, and waits for all responses.
    ///
    /// - Parameter expected: Errors that are a valid response for the caller, and that the
    ///   metrics do not count as failures.
    /// - Returns: The results, in the order of the requests.
    /// - Throws: `CancellationError`, or the error of an invalid request, in which case nothing was sent.
    func gather(
        _ requests: [Request], timeout: Duration?, expecting expected: [ZooKeeperError.Code],
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> [ReplyResult] {
        try Task.checkCancellation()
        for request in requests { try request.validate(maximumSize: configuration.maximumRequestSize) }
        if requests.isEmpty { return [] }
        let start = ContinuousClock.now
        let deadline = start + self.deadline(timeout)
        let tokens = requests.map { _ in connection.nextToken() }
        let results = await withTaskCancellationHandler {
            // Captured for the same reason as in `perform`.
            _ = isolation
            return await withCheckedContinuation { continuation in
                let group = ReplyGroup(count: requests.count, continuation)
                connection.submit(
                    requests.indices.map {
                        PendingRequest(
                            token: tokens[$0], request: requests[$0], deadline: deadline,
                            waiter: .group(group, $0))
                    })
                if Task.isCancelled { tokens.forEach(cancel) }
            }
        } onCancel: {
            tokens.forEach(cancel)
        }
        let (duration, inFlight) = (start.duration(to: .now), connection.requests.read { $0.inFlight })
        for (request, result) in zip(requests, results) {
            var failed = false
            switch result {
            case .success(let reply): ephemerals.applied(request, reply, sessionID: sessionState.sessionID)
            case .failure(let error as ZooKeeperError): failed = !expected.contains(error.code)
            case .failure: failed = true
            }
            metrics.ended(request.name, after: duration, failed: failed, inFlight: inFlight)
        }
        try Task.checkCancellation()
        return results
    }

    func deadline(_ timeout: Duration?) -> Duration {
        timeout.map { min(max($0, .zero), .seconds(86_400)) } ?? configuration.requestTimeout
    }

    private func cancel(_ token: UInt64) { connection.requests.update { $0.cancel(token) } }

    // MARK: Chroot

    /// Returns the path on the ensemble, with the chroot.
    ///
    /// - Throws: ``ZooKeeperError`` for an invalid path, because a relative path would end up
    ///   beside the chroot instead of below it.
    func full(_ path: String, sequential: Bool = false) throws -> String {
        if configuration.chroot.isEmpty { return path }
        try NodePath.validate(path, sequential: sequential)
        return path == "/" && !sequential ? configuration.chroot : configuration.chroot + path
    }

    /// Returns the path as the caller knows it, without the chroot.
    func local(_ path: String) -> String {
        guard !configuration.chroot.isEmpty, path.utf8.starts(with: configuration.chroot.utf8) else { return path }
        let rest = path.utf8.dropFirst(configuration.chroot.utf8.count)
        return rest.isEmpty ? "/" : String(Substring(rest))
    }

    /// Names the missing node in the error: the parent of the node to be created, or the chroot itself.
    private func namingMissingNode(_ error: ZooKeeperError, _ request: Request) -> ZooKeeperError {
        let chroot = configuration.chroot
        guard error.code == .noNode, let path = error.path else { return error }
        let isCreate = request.creates(at: error.operationIndex)
        let missing = isCreate ? NodePath.parent(of: path) ?? path : path
        var message = error.message
        if missing.isIdentical(to: chroot) {
            message = "The chroot \(chroot) does not exist. Create it with ensurePath(\"/\")."
        } else {
            if isCreate {
                message = "The parent node \(local(missing)) does not exist. Create it first, or use ensurePath."
            }
            if !chroot.isEmpty { message += " Also check that the client's chroot \(chroot) exists." }
        }
        return ZooKeeperError(
            code: error.code, message: message, path: path, operationIndex: error.operationIndex, outcome: error.outcome
        )
    }

    /// Runs `body`, and replaces the path of an error by the caller's path.
    func localizing<T>(_ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch let error as ZooKeeperError {
            guard !configuration.chroot.isEmpty, let path = error.path else { throw error }
            throw ZooKeeperError(
                code: error.code, message: error.message, path: local(path), operationIndex: error.operationIndex,
                outcome: error.outcome)
        }
    }
}

extension ZooKeeperClient: Service {
    /// Keeps the session open until the service group shuts down or the task is cancelled, then closes it.
    ///
    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/alreadyRunning``) at the second call.
    public func run() async throws {
        let isFirst = isRunning.withLock { isRunning in
            defer { isRunning = true }
            return !isRunning
        }
        guard isFirst else {
            throw ZooKeeperError(
                code: .alreadyRunning, message: "run() was already called. Create another client to run again.",
                path: nil, outcome: .notApplied)
        }
        let states = sessionStates
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await gracefulShutdown() }
            // Also ends when another task closes the client.
            group.addTask { for await _ in states {} }
            await group.next()
            group.cancelAll()
        }
        await close()
    }
}
