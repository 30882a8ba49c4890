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
    private let http: HTTPClient
    private let ownsHTTP: Bool
    private let isClosed = Mutex(false)

    /// Begins to open a session.
    ///
    /// - Parameters:
    ///   - configuration: which gateways, and limits.
    ///   - client: the HTTP client to use, with its settings of TLS; it must outlive the store, and should follow no redirects.
    ///     By default one of the store's own.
    ///   - logger: gets changes of the session, never data, credentials or session ids.
    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/invalidArgument``) for a setting outside its limits.
    public init(
        _ configuration: RestConfiguration, client: HTTPClient? = nil, logger: Logger = Logger(label: "zookeeper.rest")
    ) throws {
        try configuration.validate()
        self.configuration = configuration
        ownsHTTP = client == nil
        http = client ?? HTTPClient(eventLoopGroupProvider: .singleton, configuration: .ofAStore)
        let transport = RestTransport(http, configuration.credentials)
        let session = RestSession(configuration, transport, logger)
        self.session = session
        let exchange = Exchange(session: session, transport: transport, callDeadline: configuration.callDeadline)
        extended = ExtendedCalls(exchange: exchange)
        plain = PlainCalls(exchange: exchange, pollInterval: configuration.pollInterval)
        keeper = Task { await session.keep() }
    }

    deinit { keeper.cancel() }

    /// Waits for the graceful shutdown, or until the task is cancelled, and closes the session.
    public func run() async throws {
        try? await gracefulShutdown()
        await close()
    }

    /// Ends the session, so that its ephemeral nodes go at once. New calls are refused; those that are sent are waited for.
    public func close() async {
        guard
            !isClosed.withLock({ (value: inout Bool) -> Bool in
                defer { value = true }
                return value
            })
        else { return await keeper.value }
        keeper.cancel()
        await keeper.value
        await Task { await session.close() }.value
        if ownsHTTP { try? await http.shutdown() }
    }

    /// What the gateway is asked with: it depends on what it announces.
    var calls: any GatewayCalls {
        get async throws {
            let link = try await session.link(until: .now + configuration.callDeadline)
            return link.hasExtensions ? extended : plain
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
