public import AsyncHTTPClient
public import Logging
import NIOCore
public import ServiceLifecycle
import Synchronization
import ZooKeeper

/// ZooKeeper over its REST interface, for the queue: the same producers, consumers and recoveries, where only HTTP gets through.
///
/// ```swift
/// let zookeeper = try RestNodeStore(.init(gateways: ["http://127.0.0.1:9998"]))
/// let queue = try MessageQueue(store: zookeeper, path: "/queue")
/// ```
///
/// At a gateway of this package the queue's full guarantee holds: it announces transactions and watches, which the interface
/// itself has not. Another one is refused, unless ``RestConfiguration/Guarantee/atLeastOnce`` is asked for; see
/// <doc:TheLibraryOverREST>.
///
/// It opens a session at once, keeps it alive, and opens another when it has ended, as ``sessionStates`` say. Its writes are sent one
/// after the other, so that they are applied in their order: several stores have several sessions, and write at once.
///
/// Inside a service, put it into a `ServiceGroup`, before the services that use it; otherwise end it with ``close()``.
public final class RestNodeStore: Service {
    let configuration: RestConfiguration
    let session: RestSession
    private let extended: ExtendedCalls
    private let plain: PlainCalls
    private let keeper: Task<Void, Never>
    /// The store's own HTTP clients.
    private let owned: [HTTPClient]
    private let closing = Mutex<Task<Void, Never>?>(nil)

    /// Begins to open a session.
    ///
    /// - Parameters:
    ///   - configuration: which gateways, and limits.
    ///   - client: the HTTP client to use, with its settings of TLS. It must outlive the store, should follow no redirects, and
    ///     must allow more connections to a gateway (`concurrentHTTP1ConnectionsPerHostSoftLimit`) than consumers and recoveries
    ///     wait at a time, about two each: else signs of life wait behind them. By default two of the store's own.
    ///   - logger: gets changes of the session, never data, credentials or session ids.
    /// - Throws: `ZooKeeperError` (`ZooKeeperError/Code/invalidArgument`) for a setting outside its limits.
    public init(
        _ configuration: RestConfiguration, client: HTTPClient? = nil, logger: Logger = Logger(label: "zookeeper.rest")
    ) throws {
        try configuration.validate()
        self.configuration = configuration
        owned =
            client == nil
            ? (0..<2).map { _ in HTTPClient(eventLoopGroupProvider: .singleton, configuration: .ofAStore) } : []
        let (http, waiting) = (client ?? owned[0], client ?? owned[1])
        let transport = RestTransport(http, waiting: waiting, configuration.credentials)
        let session = RestSession(configuration, transport, logger)
        self.session = session
        func exchange(hasExtensions: Bool) -> Exchange {
            Exchange(
                session: session, transport: transport, callDeadline: configuration.callDeadline,
                hasExtensions: hasExtensions)
        }
        extended = ExtendedCalls(exchange: exchange(hasExtensions: true))
        plain = PlainCalls(exchange: exchange(hasExtensions: false), pollInterval: configuration.pollInterval)
        keeper = Task { await session.keep() }
    }

    deinit {
        keeper.cancel()
        // Not a child of anything, since a deinit cannot wait. A `close()` does the same and waits.
        Task { [keeper, session, owned] in
            await keeper.value
            await session.close()
            for client in owned { try? await client.shutdown() }
        }
    }

    /// Makes a store, gives it to `body`, and closes it when `body` has returned or thrown.
    ///
    /// - Throws: what `body` throws, or `ZooKeeperError` for a setting outside its limits.
    public static func withStore<Result>(
        _ configuration: RestConfiguration, client: HTTPClient? = nil,
        logger: Logger = Logger(label: "zookeeper.rest"), _ body: (RestNodeStore) async throws -> Result
    ) async throws -> Result {
        let store = try RestNodeStore(configuration, client: client, logger: logger)
        do {
            let result = try await body(store)
            await store.close()
            return result
        } catch {
            await store.close()
            throw error
        }
    }

    /// Serves until the graceful shutdown, until the task is cancelled, or until somebody else closes the store; closes it then.
    public func run() async throws {
        await cancelWhenGracefulShutdown { [sessionStates] in for await _ in sessionStates {} }
        await close()
    }

    /// Ends the session, so that its ephemeral nodes go at once. Calls that are under way end without an answer, and new ones are
    /// refused. Closing again waits for the same end. It is not affected by cancellation.
    public func close() async {
        let task = closing.withLock { closing in
            let task =
                closing
                ?? Task { [keeper, session, owned] in
                    keeper.cancel()
                    await keeper.value
                    await session.close()
                    for client in owned { try? await client.shutdown() }
                }
            closing = task
            return task
        }
        await task.value
    }

    /// Runs a call with what the gateway is asked with, which depends on what it announces.
    ///
    /// A call that belongs to a session which ended before anything was done is repeated in the next session, as
    /// ZooKeeper's client does. There it finds, and reports, what the end of the session has changed.
    func perform<Value>(_ call: (any GatewayCalls) async throws -> Value) async throws -> Value {
        let deadline = ContinuousClock.now + configuration.callDeadline
        while true {
            let link = try await session.link(until: deadline)
            do {
                return try await call(link.hasExtensions ? extended : plain)
            } catch let error as ZooKeeperError
                where error.code == .sessionMoved && error.outcome == .notApplied && ContinuousClock.now < deadline
            {
                // A gateway's own session may have moved too, and there is no event to wait for.
                try await Task.sleep(for: Exchange.pause)
            }
        }
    }
}

extension HTTPClient.Configuration {
    /// Many may wait for changes at once, each on a connection.
    fileprivate static var ofAStore: HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.httpVersion = .http1Only
        configuration.timeout.connect = .seconds(2)
        // Below the idle time of gateways, so that no request meets a connection that is just being closed.
        configuration.connectionPool.idleTimeout = .seconds(15)
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 256
        return configuration
    }
}
