import QueueHistory
import Synchronization
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// Sees every change of the tree, and objects to those that no right queue can make: messages are conserved.
///
/// A message is the node that holds its payload. It stands in one place at a time; only the living consumer that holds
/// its lease can end it; nobody takes a lease from a consumer that lives.
final class InvariantMonitor: Sendable {
    private struct Place: Hashable {
        enum Kind { case ready, leased, partial, dead }
        let kind: Kind
        let path: String
        /// The consumer that holds it.
        let consumer: String?
        /// The name of the message.
        let name: String
    }
    private struct State {
        var places: [String: Place] = [:]
        var owners: [String: Int64] = [:]
        var violations: [Violation] = []
        /// How often each message was claimed, but for claims that were released unseen.
        var claims: [String: Int] = [:]
    }
    private let root = "/queue"
    private let state = Mutex(State())

    var violations: [Violation] { state.withLock { $0.violations } }
    func claims(of payload: String) -> Int { state.withLock { $0.claims[payload] ?? 0 } }

    func see(_ transaction: Transaction) {
        state.withLock { state in
            var places: [String: Place] = [:]
            var owners: [String: Int64] = [:]
            for (exactPath, node) in transaction.nodes {
                let path = exactPath.string
                guard path.hasPrefix(root + "/") else { continue }
                let parts = path.dropFirst(root.count + 1).split(separator: "/").map(String.init)
                if parts.count == 3, parts[0] == "consumers", parts[2] == "active" {
                    owners[parts[1]] = node.stat.ephemeralOwner
                }
                guard let place = Self.place(path, parts), let data = node.data, !data.isEmpty else { continue }
                let consumer = place.consumer.flatMap {
                    transaction.nodes[ExactString("\(root)/consumers/\($0)")]?.data
                }
                let epoch = parts[0] == "items" ? transaction.nodes[ExactString("\(root)/epoch")]?.data : nil
                let contents = NodeContents(name: parts.last ?? "", data: data, consumer: consumer, epoch: epoch)
                for message in contents.messages {
                    let payload = String(decoding: message.payload, as: UTF8.self)
                    if let other = places[payload] {
                        let invariant: Invariant =
                            place.kind == .leased && other.kind == .leased ? .oneLease : .storedOnce
                        state.violations.append(
                            Violation(invariant, "\(payload) is at \(other.path) and at \(path) at once"))
                    }
                    places[payload] = Place(kind: place.kind, path: path, consumer: place.consumer, name: message.name)
                }
            }
            defer { (state.places, state.owners) = (places, owners) }
            // No member answers for what the servers lose or bring back.
            if transaction.isRollback { return }
            for (payload, before) in state.places {
                judge(payload, before, places[payload], transaction.session, &state)
            }
            for (payload, place) in places where state.places[payload] == nil {
                if place.kind == .partial || place.kind == .dead {
                    state.violations.append(Violation(.acknowledgedIsFinal, "\(payload) appeared at \(place.path)"))
                }
            }
            for (payload, place) in places where place.kind == .leased && state.places[payload]?.kind != .leased {
                state.claims[payload, default: 0] += 1
            }
        }
    }

    private func judge(
        _ payload: String, _ before: Place, _ after: Place?, _ session: Int64, _ state: inout State
    ) {
        guard before != after else { return }
        func object(_ invariant: Invariant, _ what: String) {
            state.violations.append(Violation(invariant, "\(payload) \(what)"))
        }
        switch (before.kind, after?.kind) {
        case (.ready, nil): object(.noneLost, "was removed from \(before.path) with no lease")
        case (.partial, nil): object(.noneLost, "was removed from \(before.path) by a recovery")
        case (.leased, nil), (.leased, .ready?), (.leased, .dead?):
            guard let consumer = before.consumer else { return }
            if state.owners[consumer] != session {
                object(.lostLeaseChangesNothing, "was settled by another session than its consumer's, or a dead one")
            }
        case (.leased, .partial?):
            if let consumer = before.consumer, state.owners[consumer] != nil {
                object(.oneLease, "was taken from a living consumer")
            }
        case (.leased, .leased?): object(.oneLease, "went from \(before.path) to \(after?.path ?? "")")
        default: break
        }
        if before.kind == .leased, let after, after.kind == .ready,
            after.name == before.name
        {
            state.claims[payload, default: 1] -= 1
        }
    }

    private static func place(_ path: String, _ parts: [String]) -> Place? {
        let name = parts.last ?? ""
        return switch (parts.first, parts.count) {
        case ("items", 2), ("earlier", 2): Place(kind: .ready, path: path, consumer: nil, name: name)
        case ("partial", 2): Place(kind: .partial, path: path, consumer: nil, name: name)
        case ("dead", 2): Place(kind: .dead, path: path, consumer: nil, name: name)
        case ("consumers", 4) where parts[2] == "item": Place(kind: .leased, path: path, consumer: parts[1], name: name)
        // The Python ancestor's one message.
        case ("consumers", 3) where parts[2] == "item": Place(kind: .leased, path: path, consumer: parts[1], name: name)
        default: nil
        }
    }
}
