import ZooKeeper
import ZooKeeperServer

/// What an operator does with the servers of an ensemble over the years, while it is in use.
extension Nemesis {
    /// Two more servers.
    mutating func grow(_ client: ZooKeeperClient, _ members: inout [Int]) async throws {
        let (disturber, now) = (self, members)
        members += try await measured("two servers join") {
            let joined = [try await disturber.site.ensemble.join(), try await disturber.site.ensemble.join()]
            try await Self.change(client, joining: joined.map(\.member))
            try await disturber.settle(now + joined.map(\.index))
            return joined.map(\.index)
        }
    }

    /// One after the other.
    mutating func restart(_ members: [Int]) async throws {
        let disturber = self
        for server in members {
            try await measured("a server restarts") {
                await disturber.site.ensemble.kill(server)
                try await disturber.site.ensemble.start(server)
                try await disturber.settle(members)
            }
        }
    }

    /// Each server by a new one, until none of the first is left.
    mutating func replace(_ client: ZooKeeperClient, _ members: inout [Int]) async throws {
        let disturber = self
        for old in members {
            let others = members.filter { $0 != old }
            members = try await measured("a server is replaced") {
                let joined = try await disturber.site.ensemble.join()
                // Servers count from 1 in the ensemble.
                try await Self.change(client, joining: [joined.member], leaving: [old + 1])
                await disturber.site.ensemble.kill(old)
                try await disturber.settle(others + [joined.index])
                return others + [joined.index]
            }
        }
    }

    /// The same change once more is harmless, when it is not known whether it was made, or cannot be made just now.
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
                // Whether the new servers are in step can only be tried.
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }
}
