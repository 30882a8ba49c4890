import Simulation
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Runs `body` with a client on an empty subtree of the shared server, and with a queue there.
func withTestQueue(
    attributes: QueueAttributes = .init(), createIfMissing: Bool = true,
    sessionTimeout: Duration = .seconds(5), _ name: String = #function,
    _ body: (ZooKeeperClient, MessageQueue) async throws -> Void
) async throws {
    try await withTestClient(sessionTimeout: sessionTimeout, name) { client in
        try await body(client, try MessageQueue(client, createIfMissing: createIfMissing).creating(with: attributes))
    }
}

/// Runs `body` with another client on the same subtree. The ensemble cannot tell it from another process.
func withAnotherClient<Result>(
    like client: ZooKeeperClient, _ body: (ZooKeeperClient) async throws -> Result
) async throws -> Result {
    let configuration = try ZooKeeperConfiguration(
        servers: client.address, sessionTimeout: .seconds(5), requestTimeout: .seconds(20))
    return try await ZooKeeperClient.withClient(configuration: configuration, body)
}

/// Runs `body` in virtual time, with a new queue in memory.
func simulateQueue<Result: Sendable>(
    _ attributes: QueueAttributes = .init(), timeLimit: Duration = .seconds(7_200),
    _ body: @escaping @Sendable (Simulation, MessageQueue) async throws -> Result
) throws -> Result {
    let simulation = Simulation(.fixed, timeLimit: timeLimit)
    return try simulation.run {
        let store = simulation.zookeeper.connect("client")
        let queue = try MessageQueue(store: store)
        try await queue.createIfNeeded(attributes)
        let result = try await body(simulation, queue)
        store.crash()
        return result
    }
}

extension MessageQueue {
    /// Expects these statistics, whatever the total number of enqueued messages is.
    func expectStatistics(
        ready: Int, leased: Int, partial: Int, dead: Int, consumers: Int,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let found = try await statistics()
        let expected = QueueStatistics(
            ready: ready, leased: leased, recovering: partial, deadLettered: dead, consumers: consumers,
            totalEnqueued: found.totalEnqueued)
        #expect(found == expected, sourceLocation: sourceLocation)
    }

    /// Returns every path below the queue's root.
    func paths() async throws -> Set<String> { try await Self.paths(below: path, in: store) }

    private static func paths(below path: String, in store: any ZooKeeperStore) async throws -> Set<String> {
        var paths: Set<String> = []
        for name in try await store.children(of: path).names {
            paths.insert("\(path)/\(name)")
            paths.formUnion(try await Self.paths(below: "\(path)/\(name)", in: store))
        }
        return paths
    }

    /// Expects the tree of a new queue, once a recovery has removed what lost replies may have left: the node of a
    /// consumer that never learned its number.
    func expectEmptyTreeAfterRecovery(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let recovery = QueueRecovery(self)
        let end = ContinuousClock.now + .seconds(30)
        while try await paths().subtracting([tree.settings]) != Set(tree.parents), ContinuousClock.now < end {
            try await recovery.recover()
        }
        try await expectEmptyTree(sourceLocation: sourceLocation)
    }

    /// Expects the tree of an unused queue.
    func expectEmptyTree(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let found = try await paths()
        #expect(found.subtracting([tree.settings]) == Set(tree.parents), sourceLocation: sourceLocation)
    }
}

/// Expects `body` to throw a ``QueueError`` with this code.
func expect(
    _ code: QueueError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("expected \(code), but nothing was thrown", sourceLocation: sourceLocation)
    } catch let error as QueueError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
    } catch {
        Issue.record("expected \(code), but \(error) was thrown", sourceLocation: sourceLocation)
    }
}
