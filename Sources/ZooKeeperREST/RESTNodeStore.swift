public import AsyncHTTPClient
public import Logging
import NIOCore
public import ServiceLifecycle
import Synchronization
import ZooKeeper

/// ZooKeeper over its REST interface, for a queue where only HTTP gets through.
///
/// Producers, consumers and recoveries work on it as they do over ZooKeeper's own protocol.
///
/// ```swift
/// let zookeeper = try RESTNodeStore(.init(gateways: ["http://127.0.0.1:9998"]))
/// let queue = try MessageQueue(store: zookeeper, path: "/queue")
/// ```
///
/// The queue's full guarantee holds at a gateway of this package, because that advertises transactions and watches,
/// which ZooKeeper's REST interface lacks. Any other gateway is refused, unless the configuration allows
/// ``RESTConfiguration/Guarantee/atLeastOnce``; see <doc:TheLibraryOverREST>.
///
/// The store opens a session at once, keeps it alive, and opens another one when it has ended. ``sessionStates``
/// reports each change. The store sends one write at a time, so that writes are applied in order. Several stores have
/// several sessions, and write in parallel.
///
/// In a service, add the store to a `ServiceGroup` before the services that use it. Otherwise end it with ``close()``.
public final class RESTNodeStore: Service {
    let configuration: RESTConfiguration
    let session: RESTSession
    private let extensionAPI: ExtensionAPI
    private let standardAPI: StandardAPI
    private let sessionTask: Task<Void, Never>
    /// The HTTP clients that the store has created and must shut down.
    private let ownedClients: [HTTPClient]
    private let closing = Mutex<Task<Void, Never>?>(nil)

    /// Creates a store, which begins to open a session.
    ///
    /// - Parameters:
    ///   - configuration: the gateways, and the store's limits.
    ///   - client: the HTTP client to use, with its TLS settings. It must outlive the store, and should not follow
    ///     redirects. It must allow more connections to a gateway (`concurrentHTTP1ConnectionsPerHostSoftLimit`) than
    ///     consumers and recoveries wait at a time, about two each, because heartbeats would otherwise wait behind
    ///     them. By default, the store creates two clients.
    ///   - logger: receives changes of the session, but never data, credentials or session IDs.
    /// - Throws: `ZooKeeperError` (`ZooKeeperError/Code/invalidArgument`) for a setting outside its limits.
    public init(
        _ configuration: RESTConfiguration, client: HTTPClient? = nil, logger: Logger = Logger(label: "zookeeper.rest")
    ) throws {
        try configuration.validate()
        self.configuration = configuration
        ownedClients =
            client == nil
            ? (0..<2).map { _ in HTTPClient(eventLoopGroupProvider: .singleton, configuration: .forStores) } : []
        let (http, longPollClient) = (client ?? ownedClients[0], client ?? ownedClients[1])
        let transport = RESTTransport(http, longPollClient: longPollClient, configuration.credentials)
        let session = RESTSession(configuration, transport, logger)
        self.session = session
        func executor(hasExtensions: Bool) -> RequestExecutor {
            RequestExecutor(
                session: session, transport: transport, requestTimeout: configuration.requestTimeout,
                hasExtensions: hasExtensions)
        }
        extensionAPI = ExtensionAPI(executor: executor(hasExtensions: true))
        standardAPI = StandardAPI(executor: executor(hasExtensions: false), pollInterval: configuration.pollInterval)
        sessionTask = Task { await session.run() }
    }

    deinit {
        sessionTask.cancel()
        // An unstructured task, because a deinit cannot wait. `close()` does the same and waits.
        Task { [sessionTask, session, ownedClients] in
            await sessionTask.value
            await session.close()
            for client in ownedClients { try? await client.shutdown() }
        }
    }

    /// Creates a store, passes it to `body`, and closes it when `body` has returned or thrown.
    ///
    /// - Throws: the error of `body`, or `ZooKeeperError` for a setting outside its limits.
    public static func withStore<Result>(
        _ configuration: RESTConfiguration, client: HTTPClient? = nil,
        logger: Logger = Logger(label: "zookeeper.rest"), _ body: (RESTNodeStore) async throws -> Result
    ) async throws -> Result {
        let store = try RESTNodeStore(configuration, client: client, logger: logger)
        do {
            let result = try await body(store)
            await store.close()
            return result
        } catch {
            await store.close()
            throw error
        }
    }

    /// Runs until the graceful shutdown, until the task is cancelled, or until another caller closes the store. Then
    /// closes the store.
    public func run() async throws {
        await cancelWhenGracefulShutdown { [sessionStates] in for await _ in sessionStates {} }
        await close()
    }

    /// Closes the session, so that its ephemeral nodes are deleted at once.
    ///
    /// Calls that are in progress end without a response, and new ones are refused. A second call waits for the same
    /// end. Cancellation has no effect.
    public func close() async {
        let task = closing.withLock { closing in
            let task =
                closing
                ?? Task { [sessionTask, session, ownedClients] in
                    sessionTask.cancel()
                    await sessionTask.value
                    await session.close()
                    for client in ownedClients { try? await client.shutdown() }
                }
            closing = task
            return task
        }
        await task.value
    }

    /// Runs a call in the form that the gateway supports, which depends on what it advertises.
    ///
    /// When the session ended before anything was done, the call is repeated in the next session, as ZooKeeper's client
    /// does. There it finds, and reports, what the end of the session has changed.
    func perform<Value>(_ call: (any GatewayAPI) async throws -> Value) async throws -> Value {
        let deadline = ContinuousClock.now + configuration.requestTimeout
        while true {
            let link = try await session.link(until: deadline)
            do {
                return try await call(link.hasExtensions ? extensionAPI : standardAPI)
            } catch let error as ZooKeeperError
                where error.code == .sessionMoved && error.outcome == .notApplied && ContinuousClock.now < deadline
            {
                // The gateway's session may have moved too, and there is no event to wait for.
                try await Task.sleep(for: RequestExecutor.pause)
            }
        }
    }
}

extension HTTPClient.Configuration {
    /// Allows many requests to wait for changes at the same time, each on its connection.
    fileprivate static var forStores: HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.httpVersion = .http1Only
        configuration.timeout.connect = .seconds(2)
        // Shorter than the idle timeout of gateways, so that no request meets a connection that is just being closed.
        configuration.connectionPool.idleTimeout = .seconds(15)
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 256
        return configuration
    }
}
