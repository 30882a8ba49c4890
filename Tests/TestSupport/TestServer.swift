import Foundation
public import ZooKeeper
import ZooKeeperNIO
public import ZooKeeperServer

/// The real server that the tests of one process share. It ends with the process, because the process holds its
/// lifeline.
public actor TestServer {
    /// The server of this process.
    public static let shared = TestServer()
    private var starting: Task<LocalEnsemble, any Error>?

    /// Returns the server. The first call starts it.
    public func ensemble() async throws -> LocalEnsemble {
        let task =
            starting
            ?? Task {
                let ensemble = try LocalEnsemble(.forTests())
                try await ensemble.start()
                return ensemble
            }
        starting = task
        return try await task.value
    }

    /// Returns a connect string whose chroot is an empty node that no other test uses.
    public static func address(_ name: String = #function) async throws -> String {
        let ensemble = try await shared.ensemble()
        let path = "/" + name.prefix { $0.isLetter || $0.isNumber } + "-" + UUID().uuidString.prefix(8)
        try await ZooKeeperClient.withClient(configuration: .init(servers: ensemble.connectString)) {
            _ = try await $0.create(path)
        }
        return ensemble.connectString + path
    }
}

/// The transport of all tests that name none.
enum TestTransport {
    /// Uses the transport that the environment variable names, if any.
    static func use() {
        switch ProcessInfo.processInfo.environment["ZKQ_TRANSPORT"] {
        case nil, "", "cclient": break
        case "nio": ZooKeeperTransport.standard = .nio
        case "tls": ZooKeeperTransport.standard = tls
        case let name?: preconditionFailure("ZKQ_TRANSPORT must be cclient, nio or tls, not \(name).")
        }
    }

    /// The certificates of all servers, if the tests connect by TLS.
    static let certificates: LocalCertificates? = {
        guard ProcessInfo.processInfo.environment["ZKQ_TRANSPORT"] == "tls" else { return nil }
        atexit { try? FileManager.default.removeItem(at: TestTransport.certificateFolder) }
        return LocalCertificates(in: certificateFolder.path(percentEncoded: false))
    }()
    private static let certificateFolder = FileManager.default.temporaryDirectory
        .appending(path: "zookeeper-tests-\(getpid())")

    private static let tls: ZooKeeperTransport? = certificates.map { certificates in
        var transport = ZooKeeperTransport.nio(tls: .serverCertificate(trust: certificates.authority))
        // The plain ports of these servers accept TLS.
        transport.usesReportedAddresses = true
        return transport
    }
}

extension LocalEnsembleConfiguration {
    /// Returns a configuration with short ticks, which allows session timeouts of 1 to 10 seconds.
    public static func forTests(servers: Int = 1) -> LocalEnsembleConfiguration {
        TestTransport.use()
        var configuration = LocalEnsembleConfiguration(
            servers: servers, tickTime: .milliseconds(500), heapMegabytes: 256,
            systemProperties: ["zookeeper.extendedTypesEnabled": "true"])
        configuration.sharedCertificates = TestTransport.certificates
        configuration.usesTLS = TestTransport.certificates != nil
        return configuration
    }
}

/// Runs `body` with a client on an empty part of the shared server's tree.
public func withTestClient<Result>(
    followsReconfiguration: Bool = true, sessionTimeout: Duration = .seconds(5),
    requestTimeout: Duration = .seconds(20),
    _ name: String = #function, _ body: (ZooKeeperClient) async throws -> Result
) async throws -> Result {
    let configuration = try ZooKeeperConfiguration(
        servers: try await TestServer.address(name), followsReconfiguration: followsReconfiguration,
        sessionTimeout: sessionTimeout,
        requestTimeout: requestTimeout)
    return try await ZooKeeperClient.withClient(configuration: configuration, body)
}

/// Throws ``TestTimeout`` when `body` takes longer than the limit. A test that hangs thus reports what it waited for.
public func withDeadline<Result: Sendable>(
    _ what: String, within limit: Duration = .seconds(60), _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    try await withThrowingTaskGroup(of: Result.self) { group in
        group.addTask { try await body() }
        group.addTask {
            // The sleep is the time limit.
            try await Task.sleep(for: limit)
            throw TestTimeout(what: what)
        }
        defer { group.cancelAll() }
        guard let result = try await group.next() else { throw TestTimeout(what: what) }
        return result
    }
}

/// A test waited too long.
public struct TestTimeout: Error, CustomStringConvertible {
    let what: String
    /// The event that did not come in time.
    public var description: String { "Timed out while waiting for: \(what)" }
}

extension ZooKeeperClient {
    /// The connect string of the client.
    public var address: String { configuration.servers + configuration.chroot }
}
