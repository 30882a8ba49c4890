import ZooKeeper

/// The line in which idle consumers stand, so that a message wakes one of them instead of all.
///
/// A place is an ephemeral node, named by a ticket and by its consumer. The first in the line watches the items; every
/// other one watches the place before its own, as in ZooKeeper's recipe for locks. A ticket is one more than the
/// largest that was seen: two consumers may draw the same, and their names decide. Should two take themselves for the
/// first, both try for a message, and one gets it.
///
/// https://zookeeper.apache.org/doc/r3.8.0/recipes.html#sc_recipes_Locks
struct IdleLine {
    let queue: MessageQueue
    /// The name of the consumer's registration.
    let consumer: String

    /// How long a consumer waits for messages by itself before it goes to stand in line.
    static let patience = Duration.seconds(1)

    private var store: any ZooKeeperStore { queue.store }
    private var tree: QueueTree { queue.tree }

    /// Takes a place at the end, or finds the one that was taken by an attempt whose answer was lost.
    func join() async throws -> String {
        while true {
            do {
                let places = try await places()
                if let own = places.first(where: { $0.hasSuffix("-" + consumer) }) { return own }
                let last = places.compactMap { $0.split(separator: "-").first.flatMap { Int64($0) } }.max() ?? 0
                let place = Self.name(min(last, .max - 1) + 1, consumer)
                _ = try await store.create(tree.idle(place), data: [], mode: .ephemeral)
                return place
            } catch let error as ZooKeeperError where error.code == .noNode {
                // A queue from before there was a line; or something has removed it.
                try await queue.folders.restoreMissing()
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
            let former = places[index - 1]
            if try await !isGone(former, within: index == 1 ? Self.oversight : nil) {
                for folder in [tree.items, tree.earlier] {
                    if try await store.exists(folder)?.numChildren ?? 0 > 0 { return true }
                }
            }
            try Task.checkCancellation()
        }
    }

    /// How often the second in line looks whether the first one lets messages lie.
    private static let oversight = Duration.seconds(10)

    private func isGone(_ place: String, within limit: Duration?) async throws -> Bool {
        let (store, path, skipped) = (store, tree.idle(place), queue.skipped)
        return try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                do {
                    for try await node in store.dataUntilDeleted(of: path) {
                        guard let node else { break }
                        if node.stat.ephemeralOwner == 0 {
                            // It belongs to no session, and would stand there for ever.
                            skipped.skip(path, .notEphemeral)
                            break
                        }
                    }
                } catch let error as ZooKeeperError where error.isRefusal {
                    skipped.skip(path, error)
                }
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

    /// Whether another consumer stands in the line.
    func hasOthers() async throws -> Bool {
        for place in try await places() where !place.hasSuffix("-" + consumer) {
            guard let stat = try await queue.reader.usableStat(tree.idle(place)) else { continue }
            if stat.ephemeralOwner != 0 { return true }
            queue.skipped.skip(tree.idle(place), .notEphemeral)
        }
        return false
    }

    /// Gives the place up. It goes with the session, too; as long as that lives, it would keep others from being first.
    func leave(_ place: String) async throws {
        do {
            try await store.delete(tree.idle(place), version: nil)
        } catch let error as ZooKeeperError where error.code == .noNode {
            // Gone with its session, or by an attempt whose answer was lost.
        }
    }

    /// The places in the line, but for nodes that are none.
    private func places() async throws -> [String] {
        let names = try await store.children(of: tree.idle).names
        return queue.skipped.usable(names, in: tree.idle).filter { name in
            if Self.isPlace(name) { return true }
            queue.skipped.skip(tree.idle(name), .unknownName)
            return false
        }.sorted()
    }

    private static func isPlace(_ name: String) -> Bool {
        let parts = name.split(separator: "-", maxSplits: 1)
        return parts.count == 2 && parts[0].utf8.count == 19 && Int64(parts[0]) != nil
            && parts[1].utf8.starts(with: "consumer-".utf8)
    }

    private static func name(_ ticket: Int64, _ consumer: String) -> String {
        let digits = String(ticket)
        return String(repeating: "0", count: max(0, 19 - digits.utf8.count)) + digits + "-" + consumer
    }
}
