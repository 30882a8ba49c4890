import Logging
import ZooKeeper

/// One look through the queue for what has failed. Every step that changes something is one multi, guarded by itself.
struct RecoveryPass {
    let queue: MessageQueue
    /// The ensemble's clock: milliseconds since 1970.
    let now: Int64
    private(set) var report = RecoveryReport()

    private var store: any NodeStore { queue.store }
    private var tree: QueueTree { queue.tree }

    /// How old a consumer's node without an ephemeral node and without leases must be: a foreign client may be about to
    /// register.
    private static let registrationGrace: Duration = .seconds(5)
    /// Nodes moved by one multi, if they fit.
    private static let batchSize = 100
    private static let maximumOperations = 1_000

    init(_ queue: MessageQueue, now: Int64) {
        self.queue = queue
        self.now = now
    }

    // MARK: Consumers

    /// Takes what failed consumers hold, and removes their nodes.
    mutating func recoverConsumers() async throws {
        for name in try await children(tree.consumers) ?? [] {
            try Task.checkCancellation()
            let paths = tree.consumer(name)
            // Saves work; what protects a living consumer is the guard in each multi.
            if try await store.exists(paths.active) != nil { continue }
            try await recover(paths)
        }
    }

    private mutating func recover(_ paths: ConsumerPaths) async throws {
        guard let leases = try await children(paths.item) else { return try await removeHalfMade(paths) }
        guard let consumer = try await node(paths.path) else { return }
        let registration = Registered(
            paths: paths, version: consumer.stat.version, progress: LeaseProgress(consumer.data))
        var rest = leases.sorted()[...]
        while !rest.isEmpty {
            guard try await moveToPartial(Array(rest.prefix(Self.batchSize)), of: registration) else { return }
            rest = rest.dropFirst(Self.batchSize)
        }
        guard try await saveAncestorsItem(paths) else { return }
        do {
            // Fails when the consumer lives or holds something by now.
            _ = try await store.multi([.delete(paths.item), .delete(paths.path)])
            report.consumersRemoved += 1
        } catch let error as ZooKeeperError
            where error.code == .notEmpty || error.code == .noNode || error.outcome == .unknown
        {
            // The next pass looks again.
        }
    }

    /// A failed consumer as it was read. Should it have been registering and do more meanwhile, its version tells.
    private struct Registered {
        let paths: ConsumerPaths
        let version: Int32
        let progress: LeaseProgress
    }

    /// A consumer that has failed, or is foreign, between the steps of its registration.
    private mutating func removeHalfMade(_ paths: ConsumerPaths) async throws {
        guard let stat = try await store.exists(paths.path), isOlder(stat.ctime, than: Self.registrationGrace) else {
            return
        }
        try await ignoring(.noNode, .notEmpty) { try await store.delete(paths.path, version: nil) }
        report.consumersRemoved += 1
    }

    /// A batch comes apart here: what is not settled of it becomes single messages, each with a count of its own.
    ///
    /// - Returns: whether to go on: the consumer has failed.
    private mutating func moveToPartial(
        _ names: [String], of registration: Registered
    ) async throws -> Bool {
        let (paths, progress) = (registration.paths, registration.progress)
        let moves = try await moves(names, from: paths.lease) { name, node in
            var move = Move(from: paths.lease(name), version: node.stat.version, to: tree.partial)
            guard let item = ItemName(name), case .batch(let batch) = Envelope.read(node.data ?? []) else {
                move.messages = [.init(name: name, data: node.data)]
                return move
            }
            move.messages = batch.records.enumerated().compactMap { index, record in
                progress.isSettled(index, of: name) ? nil : .init(name: item.message(index).string, data: record)
            }
            return move
        }
        let (isAlive, count) = try await apply(moves, guardedBy: registration)
        report.recovered += count
        return !isAlive
    }

    /// The Python ancestor keeps its one message as the data of the node that is the parent of leases here. The name
    /// that the message had is not known, so it gets the default priority and a number of its own.
    private mutating func saveAncestorsItem(_ paths: ConsumerPaths) async throws -> Bool {
        guard let node = try await node(paths.item), let data = node.data, !data.isEmpty else { return true }
        do {
            _ = try await store.multi([
                .create(paths.active, data: []),
                .set(paths.item, data: [], version: node.stat.version),
                .create(tree.partial(ItemName.prefix(priority: 100)), data: data, mode: .persistentSequential),
                .delete(paths.active),
            ])
            report.recovered += 1
            return true
        } catch let error as ZooKeeperError where error.operationIndex != nil || error.outcome == .unknown {
            // It lives, or has changed, or it is done: the next pass looks again.
            return false
        }
    }

    // MARK: Partial

    /// Gives back what waits in `partial`, in its old place, or gives it up.
    mutating func redeliver() async throws {
        let names = (try await children(tree.partial) ?? []).sorted()
        var rest = names[...]
        while !rest.isEmpty {
            try Task.checkCancellation()
            let moves = try await moves(Array(rest.prefix(Self.batchSize)), from: tree.partial) { name, node in
                guard isOlder(node.stat.ctime, than: queue.settings.redeliveryDelay) else { return nil }
                return redelivery(name, node)
            }
            let dead = moves.filter { $0.cause != nil }
            report.deadLettered += try await apply(dead, guardedBy: nil).count
            report.redelivered += try await apply(moves.filter { $0.cause == nil }, guardedBy: nil).count
            rest = rest.dropFirst(Self.batchSize)
        }
    }

    private func redelivery(_ name: String, _ node: Node) -> Move {
        var move = Move(from: tree.partial(name), version: node.stat.version, to: tree.items)
        let data = Envelope.restored(node.data)
        guard let item = ItemName(name) else {
            move.messages = [.init(name: name, data: data)]
            move.cause = "its name is no item's"
            return move
        }
        let returns = item.returns + 1
        move.messages = [.init(name: item.with(returns: returns), data: data)]
        if returns >= queue.settings.maximumDeliveries {
            move.cause = "delivered \(returns) times, and its last consumer failed"
        }
        return move
    }

    // MARK: Garbage

    /// Removes lanes of producers that have been silent for long.
    mutating func removeLanes() async throws {
        for name in try await children(tree.producers) ?? [] {
            try Task.checkCancellation()
            guard let stat = try await store.exists(tree.lane(name)),
                isOlder(stat.mtime, than: queue.settings.laneRetention)
            else { continue }
            // A producer that has come back meanwhile has changed the version.
            try await ignoring(.noNode, .badVersion) { try await store.delete(tree.lane(name), version: stat.version) }
            report.lanesRemoved += 1
        }
    }

    /// Removes items that were created empty and never filled. Consumers pass over them, so they come to stand at the
    /// head of the queue; the first hundred are looked at.
    mutating func removeUnfilled() async throws {
        let names = (try await children(tree.items) ?? []).compactMap(ItemName.init).sorted().prefix(100)
        for name in names {
            guard let stat = try await store.exists(tree.item(name.string)), stat.dataLength == 0, stat.version == 0,
                isOlder(stat.ctime, than: queue.settings.unfilledItemAge)
            else { continue }
            try await ignoring(.noNode, .badVersion) { try await store.delete(tree.item(name.string), version: 0) }
            report.unfilledRemoved += 1
        }
    }

    // MARK: Moving

    /// The way of a node's messages from one parent to another.
    private struct Move {
        struct Message {
            var name: String
            let data: [UInt8]?
        }
        let from: String
        let version: Int32
        let to: String
        var messages: [Message] = []
        /// Why they go to the dead letters instead.
        var cause: String?

        func operations(_ tree: QueueTree) -> [Operation] {
            [.delete(from, version: version)]
                + messages.flatMap { message in
                    guard let cause else { return [Operation.create("\(to)/\(message.name)", data: message.data)] }
                    return DeadLetter.operations(tree, name: message.name, data: message.data ?? [], cause: cause)
                }
        }

        /// A name is taken, by a message from before the server's counter began anew.
        mutating func takeNextName(ofOperation index: Int) {
            let index = (index - 1) / (cause == nil ? 1 : 2)
            guard messages.indices.contains(index) else { return }
            let name = messages[index].name
            messages[index].name = ItemName(name).map { $0.with(returns: $0.returns + 1) } ?? name + "-again"
        }
    }

    private func moves(
        _ names: [String], from path: (String) -> String, _ make: (String, Node) -> Move?
    ) async throws -> [Move] {
        var moves: [Move] = []
        for (name, node) in zip(names, try await store.get(names.map(path))) {
            if let node, let move = make(name, node) { moves.append(move) }
        }
        return moves
    }

    /// Moves the messages, as many as are still where they were.
    ///
    /// - Parameter consumer: the failed consumer that they belong to. Each multi creates its ephemeral node and deletes
    ///   it again, which fails while the consumer lives: a living consumer can never be robbed.
    private func apply(_ moves: [Move], guardedBy consumer: Registered?) async throws -> (isAlive: Bool, count: Int) {
        var rest = moves
        var count = 0
        while !rest.isEmpty {
            var batch = fitting(rest)
            do {
                let steps = batch.map { $0.operations(tree) }
                var operations = steps.flatMap { $0 }
                if let consumer {
                    let active = consumer.paths.active
                    operations =
                        [.create(active, data: []), .check(consumer.paths.path, version: consumer.version)]
                        + operations + [.delete(active)]
                }
                _ = try await store.multi(operations)
                count += batch.reduce(0) { $0 + $1.messages.count }
                rest.removeFirst(batch.count)
            } catch let error as ZooKeeperError {
                if error.outcome == .unknown { return (false, count) }
                guard var index = error.operationIndex else {
                    guard batch.count == 1, [.requestTooLarge, .invalidArgument].contains(error.code) else {
                        throw error
                    }
                    queue.logger.error(
                        "A message is left where it is", metadata: ["node": "\(batch[0].from)", "why": "\(error)"])
                    rest.removeFirst()
                    continue
                }
                if consumer != nil {
                    // The consumer lives, or its node is gone, or has changed: the next pass looks again.
                    if index < 2 { return (index == 1 || error.code == .nodeExists, count) }
                    index -= 2
                }
                guard let (failed, place) = Self.place(of: index, batch.map { $0.operations(tree).count }) else {
                    throw error
                }
                if error.code == .nodeExists {
                    batch[failed].takeNextName(ofOperation: place)
                    rest[failed] = batch[failed]
                } else if error.code == .noNode || error.code == .badVersion {
                    rest.remove(at: failed)
                } else {
                    throw error
                }
            }
        }
        return (false, count)
    }

    /// Which move an operation belongs to, and its place there.
    private static func place(of index: Int, _ counts: [Int]) -> (move: Int, operation: Int)? {
        var start = 0
        for (move, count) in counts.enumerated() {
            if index < start + count { return (move, index - start) }
            start += count
        }
        return nil
    }

    private func fitting(_ moves: [Move]) -> [Move] {
        var (bytes, count) = (1_024, 3)
        let batch = moves.prefix { move in
            let operations = move.operations(tree)
            count += operations.count
            bytes += operations.reduce(0) { $0 + store.size(of: $1) }
            return bytes <= store.maximumRequestSize && count <= Self.maximumOperations
        }
        return batch.isEmpty ? Array(moves.prefix(1)) : Array(batch)
    }

    // MARK: Reading

    /// Of something that is younger than this pass, no age is known.
    private func isOlder(_ time: Int64, than age: Duration) -> Bool { age <= .zero || .milliseconds(now - time) >= age }

    private func children(_ path: String) async throws -> [String]? {
        do {
            return try await store.children(of: path).names
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }

    private func node(_ path: String) async throws -> Node? {
        do {
            return try await store.get(path)
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }

    private func ignoring(_ codes: ZooKeeperError.Code..., body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch let error as ZooKeeperError where codes.contains(error.code) || error.outcome == .unknown {
            // Somebody was faster; or the next pass looks again.
        }
    }
}
