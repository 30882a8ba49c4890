import ZooKeeper
import ZooKeeperServer

/// The maintenance that an operator does on the servers of an ensemble in use.
extension Nemesis {
    /// Adds two servers.
    mutating func addServers(_ client: ZooKeeperClient, _ servers: inout [Int]) async throws {
        let (nemesis, current) = (self, servers)
        servers += try await measured("two servers join") {
            let joined = [try await nemesis.cluster.ensemble.join(), try await nemesis.cluster.ensemble.join()]
            try await Self.change(client, joining: joined.map(\.member))
            try await nemesis.waitUntilStable(current + joined.map(\.index))
            return joined.map(\.index)
        }
    }

    /// Restarts the servers, one after the other.
    mutating func restartServers(_ servers: [Int]) async throws {
        let nemesis = self
        for server in servers {
            try await measured("a server restarts") {
                await nemesis.cluster.ensemble.kill(server)
                try await nemesis.cluster.ensemble.start(server)
                try await nemesis.waitUntilStable(servers)
            }
        }
    }

    /// Replaces each server by a new one, until none of the original servers is left.
    mutating func replaceServers(_ client: ZooKeeperClient, _ servers: inout [Int]) async throws {
        let nemesis = self
        for old in servers {
            let others = servers.filter { $0 != old }
            servers = try await measured("a server is replaced") {
                let joined = try await nemesis.cluster.ensemble.join()
                // Servers count from 1 in the ensemble.
                try await Self.change(client, joining: [joined.member], leaving: [old + 1])
                await nemesis.cluster.ensemble.kill(old)
                try await nemesis.waitUntilStable(others + [joined.index])
                return others + [joined.index]
            }
        }
    }

    /// Changes the servers of the ensemble. Repeats the change when its outcome is unknown or it is not possible yet,
    /// because a repeated change does no harm.
    private static func change(_ client: ZooKeeperClient, joining: [String], leaving: [Int] = []) async throws {
        let end = ContinuousClock.now + .seconds(60)
        while true {
            do {
                _ = try await client.reconfigure(joining: joining, leaving: leaving)
                return
            } catch let error as ZooKeeperError
                where ContinuousClock.now < end
                && (error.outcome == .unknown || [.newConfigNoQuorum, .reconfigInProgress].contains(error.code))
            {
                // No event announces that the new servers have caught up with the leader.
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }
}
