import QueueHistory
import Simulation
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// The copies of messages that are sent to the queue `/next`.
enum Copies: Sendable {
    case none
    /// An acknowledgement sends the copy, in the same transaction.
    case whenAcknowledged
    /// The copy is sent after the acknowledgement: the flaw of a handler without transactions.
    case afterAcknowledging
    /// Messages are sent in transactions, each together with its copy.
    case whenSent
}

extension FaultHarness {
    /// Messages without a copy, or with several. Each stored message was delivered, at the latest when the queue was
    /// drained, and was acknowledged or became a dead letter.
    var copyViolations: [Violation] {
        if case .none = queue.copies { return [] }
        var expected = Set(history.events.filter { $0.kind == .delivered }.map(\.message))
        if case .whenSent = queue.copies {} else { expected.subtract(finalState.dead.map(\.payload)) }
        var copies: [String: Int] = [:]
        let folder = "/next/items/"
        for (path, node) in simulation.zookeeper.nodes where path.hasPrefix(folder) {
            for message in NodeContents(name: String(path.dropFirst(folder.count)), data: node.data ?? []).messages {
                copies[String(decoding: message.payload, as: UTF8.self), default: 0] += 1
            }
        }
        return expected.union(copies.keys).sorted().compactMap { message in
            let count = copies[message] ?? 0
            if count == 1, expected.contains(message) { return nil }
            return Violation(count == 0 ? .noneLost : .storedOnce, "\(message) has \(count) copies")
        }
    }
}
