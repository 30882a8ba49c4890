package import QueueHistory
import Synchronization
import ZooKeeper
import ZooKeeperQueue
package import ZooKeeperTestKit

/// Observes every change of the tree, and reports a change that no correct queue can make.
///
/// A message is the node that contains its payload. It is in one location at a time. Only a live consumer that holds
/// the message's lease can remove it. No process can take a lease from a live consumer, unless the consumer was silent
/// for the lease timeout.
package final class InvariantMonitor: Sendable {
    private struct Location: Hashable {
        enum Kind { case ready, delayed, leased, partial, dead, waiting }
        let kind: Kind
        let path: String
        /// The consumer that holds the message.
        let consumer: String?
        /// The name of the message.
        let name: String
        /// When the node was created, by the ensemble's clock.
        var createdAt: Int64 = 0
        /// When a delayed message is due, by the ensemble's clock.
        var due: Int64 { Int64(name.prefix(13)) ?? 0 }
    }
    /// The messages of a node, and what they were decoded from.
    private struct Decoded {
        let zxid: Int64
        let consumer: [UInt8]?
        let epoch: [UInt8]?
        let messages: [(payload: String, name: String, group: String?)]

        init(_ contents: NodeContents, zxid: Int64, consumer: [UInt8]?, epoch: [UInt8]?) {
            (self.zxid, self.consumer, self.epoch) = (zxid, consumer, epoch)
            messages = contents.messages.map { (String(decoding: $0.payload, as: UTF8.self), $0.name, $0.group) }
        }
    }
    /// What the path of a node says.
    private typealias Place = (path: String, parts: [String], location: Location?)

    private struct State {
        /// The places of the nodes that were seen, because most transactions concern few of them.
        private var places: [ExactString: Place?] = [:]

        mutating func place(of path: ExactString, below root: String) -> Place? {
            if let known = places[path] { return known }
            var place: Place?
            if path.string.hasPrefix(root + "/") {
                let parts = path.string.dropFirst(root.count + 1).split(separator: "/").map(String.init)
                place = (path.string, parts, InvariantMonitor.location(path.string, parts))
            }
            places[path] = .some(place)
            return place
        }

        var decoded: [String: Decoded] = [:]
        var locations: [String: Location] = [:]
        var owners: [String: Int64] = [:]
        /// When each consumer\'s node has changed last, in milliseconds since 1970.
        var changes: [String: Int64] = [:]
        var violations: [Violation] = []
        /// The number of claims of each message, without those whose message was released under the same name.
        var claims: [String: Int] = [:]
    }
    private let root = "/queue"
    /// The delay of requeued messages.
    private let requeueDelay: Duration
    private let leaseTimeout: Duration?
    private let state = Mutex(State())

    package init(requeueDelay: Duration = .zero, leaseTimeout: Duration? = nil) {
        (self.requeueDelay, self.leaseTimeout) = (requeueDelay, leaseTimeout)
    }

    package var violations: [Violation] { state.withLock { $0.violations } }
    package func claims(of payload: String) -> Int { state.withLock { $0.claims[payload] ?? 0 } }

    package func observe(_ transaction: Transaction) {
        state.withLock { state in
            var locations: [String: Location] = [:]
            var owners: [String: Int64] = [:]
            var changes: [String: Int64] = [:]
            var heads: [String: Int] = [:]
            var groups: Set<String> = []
            // Most nodes have not changed since the last transaction. Lost zxids are given out again after a rollback.
            let known = transaction.isRollback ? [:] : state.decoded
            state.decoded = [:]
            for (exactPath, node) in transaction.nodes {
                guard let (path, parts, location) = state.place(of: exactPath, below: root) else { continue }
                if parts.count == 3, parts[0] == "consumers", parts[2] == "active" {
                    owners[parts[1]] = node.stat.ephemeralOwner
                }
                if parts.count == 2, parts[0] == "groups" { groups.insert(parts[1]) }
                if parts.count == 2, parts[0] == "consumers" { changes[parts[1]] = node.stat.mtime }
                guard let location, let data = node.data, !data.isEmpty else { continue }
                let consumer = location.consumer.flatMap {
                    transaction.nodes[ExactString("\(root)/consumers/\($0)")]?.data
                }
                let epoch = parts[0] == "items" ? transaction.nodes[ExactString("\(root)/epoch")]?.data : nil
                let old = known[path]
                let decoded =
                    if let old, old.zxid == node.stat.mzxid, old.consumer == consumer, old.epoch == epoch {
                        old
                    } else {
                        Decoded(
                            NodeContents(name: parts.last ?? "", data: data, consumer: consumer, epoch: epoch),
                            zxid: node.stat.mzxid, consumer: consumer, epoch: epoch)
                    }
                state.decoded[path] = decoded
                for (payload, name, group) in decoded.messages {
                    if let group, location.kind != .waiting, location.kind != .dead { heads[group, default: 0] += 1 }
                    if let other = locations[payload] {
                        let invariant: Invariant =
                            location.kind == .leased && other.kind == .leased ? .oneLease : .storedOnce
                        state.violations.append(
                            Violation(invariant, "\(payload) is in \(other.path) and in \(path) at the same time"))
                    }
                    locations[payload] = Location(
                        kind: location.kind, path: path, consumer: location.consumer,
                        name: location.kind == .delayed ? location.name : name, createdAt: node.stat.ctime)
                }
            }
            defer { (state.locations, state.owners, state.changes) = (locations, owners, changes) }
            // No process is responsible for nodes that the servers lose or restore.
            if transaction.isRollback { return }
            if heads != Dictionary(uniqueKeysWithValues: groups.map({ ($0, 1) })) {
                state.violations.append(Violation(.groupOrderKept, "the groups \(groups) have these heads: \(heads)"))
            }
            for (payload, before) in state.locations {
                check(payload, before, locations[payload], transaction.session, &state)
            }
            for (payload, location) in locations where state.locations[payload] == nil {
                if location.kind == .partial || location.kind == .dead {
                    state.violations.append(Violation(.acknowledgedIsFinal, "\(payload) appeared in \(location.path)"))
                }
            }
            for (payload, location) in locations
            where location.kind == .leased && state.locations[payload]?.kind != .leased {
                state.claims[payload, default: 0] += 1
            }
        }
    }

    private func check(
        _ payload: String, _ before: Location, _ after: Location?, _ session: Int64, _ state: inout State
    ) {
        guard before != after else { return }
        func report(_ invariant: Invariant, _ detail: String) {
            state.violations.append(Violation(invariant, "\(payload) \(detail)"))
        }
        switch (before.kind, after?.kind) {
        case (.ready, nil): report(.noneLost, "was removed from \(before.path) without a lease")
        case (.partial, nil), (.delayed, nil), (.waiting, nil):
            report(.noneLost, "was removed from \(before.path), where no consumer writes")
        case (.waiting, let kind?) where kind != .ready: report(.groupOrderKept, "did not become ready in its group")
        case (let kind, .waiting?): report(.groupOrderKept, "left the place \(kind) to wait in its group")
        case (.delayed, .ready?):
            if let after, after.createdAt < before.due {
                report(.neverEarly, "became ready \(before.due - after.createdAt) ms before it was due")
            }
        case (.delayed, let kind?) where kind != .delayed: report(.noneLost, "was taken from \(before.path)")
        case (.leased, .delayed?):
            if let after, Duration.milliseconds(after.due - before.createdAt) < requeueDelay {
                report(.neverEarly, "is due \(after.due - before.createdAt) ms after its claim")
            }
            fallthrough
        case (.leased, nil), (.leased, .ready?), (.leased, .dead?):
            guard let consumer = before.consumer else { return }
            if state.owners[consumer] != session {
                report(
                    .lostLeaseChangesNothing, "was settled by a session that does not own its consumer, or has ended")
            }
        case (.leased, .partial?):
            guard let after, let consumer = before.consumer, state.owners[consumer] != nil else { return }
            let silence = Duration.milliseconds(after.createdAt - (state.changes[consumer] ?? 0))
            if leaseTimeout.map({ silence < $0 }) ?? true {
                report(.oneLease, "was taken from a live consumer that was silent for \(silence)")
            }
        case (.leased, .leased?): report(.oneLease, "moved from \(before.path) to \(after?.path ?? "")")
        default: break
        }
        if before.kind == .leased, let after, after.kind == .ready, after.name == before.name {
            state.claims[payload, default: 1] -= 1
        }
    }

    private static func location(_ path: String, _ parts: [String]) -> Location? {
        let name = parts.last ?? ""
        return switch (parts.first, parts.count) {
        case ("items", 2), ("earlier", 2): Location(kind: .ready, path: path, consumer: nil, name: name)
        case ("partial", 2): Location(kind: .partial, path: path, consumer: nil, name: name)
        case ("groups", 3): Location(kind: .waiting, path: path, consumer: nil, name: name)
        case ("delayed", 4): Location(kind: .delayed, path: path, consumer: nil, name: name)
        case ("dead", 2): Location(kind: .dead, path: path, consumer: nil, name: name)
        case ("consumers", 4) where parts[2] == "item":
            Location(kind: .leased, path: path, consumer: parts[1], name: name)
        // The legacy Python client's only message.
        case ("consumers", 3) where parts[2] == "item":
            Location(kind: .leased, path: path, consumer: parts[1], name: name)
        default: nil
        }
    }
}
