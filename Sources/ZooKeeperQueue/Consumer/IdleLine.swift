import ZooKeeper

/// The line in which idle consumers stand, so that a message wakes one of them instead of all.
///
/// A place is an ephemeral node, named by a ticket and by its consumer. The first in the line watches the items; every
/// other one watches the place before its own, as in ZooKeeper's recipe for locks. A ticket is one more than the largest
/// that was seen: two consumers may draw the same, and their names decide. Should two take themselves for the first, both
/// try for a message, and one gets it.
///
/// https://zookeeper.apache.org/doc/r3.8.0/recipes.html#sc_recipes_Locks
struct IdleLine {
    let queue: MessageQueue
    /// The name of the consumer's registration.
    let consumer: String

    /// How long a consumer waits for messages by itself before it goes to stand in line.
    static let patience = Duration.seconds(1)

    private var store: any NodeStore { queue.store }
    private var tree: QueueTree { queue.tree }

    /// Takes a place at the end, or finds the one that was taken by an attempt whose answer was lost.
    func join() async throws -> String {
        while true {
            do {
                let places = try await places()
                if let own = places.first(where: { $0.hasSuffix("-" + consumer) }) { return own }
                let ticket = places.compactMap { $0.split(separator: "-").first.flatMap { Int64($0) } }.max() ?? 0
                let place = Self.name(ticket &+ 1, consumer)
                _ = try await store.create(tree.idle(place), data: [], mode: .ephemeral)
                return place
            } catch let error as ZooKeeperError where error.code == .noNode {
                // A queue from before there was a line. Others may make it at the same time.
                do {
                    _ = try await store.create(tree.idle, data: [], mode: .persistent)
                } catch let error as ZooKeeperError where error.code == .nodeExists {}
            } catch let error as ZooKeeperError
                where error.code == .nodeExists || error.outcome == .unknown && error.code != .deadlineExceeded
            {
                // Looked at again, when every server has seen what was on its way.
                try await store.sync(tree.idle)
            }
        }
    }

    /// Waits until nobody stands before the place.
    ///
    /// - Returns: `false` when the place is gone.
    func untilFirst(_ place: String) async throws -> Bool {
        while true {
            let places = try await places()
            guard let index = places.firstIndex(of: place) else { return false }
            if index == 0 { return true }
            // The second one looks now and then itself: the first may hang, or be nobody's.
            if try await !isGone(places[index - 1], within: index == 1 ? Self.oversight : nil) {
                for list in [tree.items, tree.earlier] {
                    if try await store.exists(list)?.numChildren ?? 0 > 0 { return true }
                }
            }
            try Task.checkCancellation()
        }
    }

    /// How often the second in line looks whether the first one lets messages lie.
    private static let oversight = Duration.seconds(10)

    private func isGone(_ place: String, within limit: Duration?) async throws -> Bool {
        let (store, path) = (store, tree.idle(place))
        return try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                for try await node in store.dataUntilDeleted(of: path) where node == nil { break }
                return true
            }
            if let limit {
                group.addTask {
                    try await store.sleep(for: limit)
                    return false
                }
            }
            defer { group.cancelAll() }
            return try await group.next() ?? true
        }
    }

    /// Whether anybody stands in the line.
    func isEmpty() async throws -> Bool { try await places().isEmpty }

    /// Gives the place up. It goes with the session, too; as long as that lives, it would keep others from being first.
    func leave(_ place: String) async throws {
        do {
            try await store.delete(tree.idle(place), version: nil)
        } catch let error as ZooKeeperError where error.code == .noNode {
            // Gone with its session, or by an attempt whose answer was lost.
        }
    }

    private func places() async throws -> [String] { try await store.children(of: tree.idle).names.sorted() }

    private static func name(_ ticket: Int64, _ consumer: String) -> String {
        let digits = String(ticket)
        return String(repeating: "0", count: max(0, 19 - digits.utf8.count)) + digits + "-" + consumer
    }
}
