public import ZooKeeper

/// A number that many processes change. No change is applied twice.
///
/// ```swift
/// let invoices = DistributedCounter(zookeeper, path: "/counters/invoices")
/// let number = try await invoices.increment()
/// ```
///
/// Each change is a write of the whole node, so a counter is good for some hundred changes a second.
public struct DistributedCounter: Sendable {
    private let store: any ZooKeeperStore
    private let path: String

    /// The node's data: the value, and the random names of the last changes. With them, a process whose response was
    /// lost finds out whether its change was made.
    private struct Value {
        var number: Int64 = 0
        var changes: [Substring] = []

        /// How many changes are remembered.
        static let maximumChanges = 32

        init() {}

        init(_ data: [UInt8]?) throws {
            let words = String(decoding: data ?? [], as: UTF8.self).split(separator: " ")
            if words.isEmpty { return }
            guard let number = Int64(words[0]) else {
                throw RecipeError(
                    .invalidArgument, "The data of the node is not a counter's. Use another path, or correct the data.")
            }
            self.number = number
            changes = Array(words.dropFirst())
        }

        var data: [UInt8] { Array(([Substring("\(number)")] + changes).joined(separator: " ").utf8) }

        /// Returns the value after a change.
        func changed(by amount: Int64, _ change: String) throws -> Value {
            let (sum, isTooLarge) = number.addingReportingOverflow(amount)
            guard !isTooLarge else {
                throw RecipeError(.invalidArgument, "The counter would exceed 64 bits. Nothing was changed.")
            }
            var value = self
            value.number = sum
            value.changes = Array((changes + [Substring(change)]).suffix(Self.maximumChanges))
            return value
        }
    }

    /// Creates a counter. Makes no request. The first change creates the node, at zero.
    public init(_ store: any ZooKeeperStore, path: String) { (self.store, self.path) = (store, path) }

    /// Returns the value; zero when there is no node.
    ///
    /// It can be some milliseconds old.
    ///
    /// - Throws: ``RecipeError/Code/invalidArgument`` when the node has other data; `ZooKeeperError`.
    public func value() async throws -> Int64 {
        try Value(try await store.get([path])[0]?.data).number
    }

    /// Adds a number, and returns the sum.
    ///
    /// - Parameters:
    ///   - amount: what to add; may be negative. Default: 1.
    ///   - timeout: how long to try. Default: 30 seconds.
    /// - Throws: ``RecipeError/Code/timedOut``, and nothing was changed; ``RecipeError/Code/outcomeUnknown``;
    ///   ``RecipeError/Code/invalidArgument``; `ZooKeeperError`. Throws `CancellationError` when the task was cancelled
    ///   before the call. Later, cancellation has no effect.
    @discardableResult
    public func increment(by amount: Int64 = 1, timeout: Duration = .seconds(30)) async throws -> Int64 {
        try Task.checkCancellation()
        // A separate task, which is not cancelled, because nothing would tell whether the change was made.
        return try await Task { try await add(amount, until: store.now + timeout) }.value
    }

    private func add(_ amount: Int64, until end: Duration) async throws -> Int64 {
        let change = RandomName.make()
        while true {
            let node = try await store.persistently(until: end) { try await store.get([path])[0] }
            let value = try Value(node?.data).changed(by: amount, change)
            do {
                if let node {
                    _ = try await store.set(path, data: value.data, version: node.stat.version)
                } else {
                    _ = try await store.create(path, data: value.data, mode: .persistent)
                }
                return value.number
            } catch let error as ZooKeeperError where error.outcome == .unknown {
                if try await wasApplied(change, since: node?.stat.version, error, until: end) { return value.number }
            } catch let error as ZooKeeperError where [.badVersion, .nodeExists].contains(error.code) {
                // Another process was first.
            } catch let error as ZooKeeperError where error.code == .noNode {
                if node == nil, let parent = NodePath.parent(of: path) {
                    try await store.persistently(until: end) { try await store.ensurePath(parent) }
                }
            } catch let error as ZooKeeperError where error.isRetryable {
                await error.pauseIfRefusedAtOnce(store)
            }
            if store.now >= end { throw RecipeError.timedOut(nil) }
        }
    }

    /// Finds out whether a change without a response was made.
    ///
    /// - Parameter version: the version before the change; `nil` when there was no node.
    private func wasApplied(
        _ change: String, since version: Int32?, _ cause: ZooKeeperError, until end: Duration
    ) async throws -> Bool {
        let unknown = RecipeError(
            .outcomeUnknown, "No response arrived, and it is unknown whether the counter was changed.", cause: cause)
        let node: Node?
        do {
            node = try await store.persistently(until: max(end, store.now + .seconds(30))) {
                // From here on, the change can no longer be made.
                try await store.sync(NodePath.parent(of: path) ?? "/")
                return try await store.get([path])[0]
            }
        } catch {
            throw unknown
        }
        guard let node else {
            // Without a node before and after, nothing was changed. Otherwise another process has deleted it.
            if version == nil { return false }
            throw unknown
        }
        guard let value = try? Value(node.data) else { throw unknown }
        if value.changes.contains(Substring(change)) { return true }
        let changes = Int(node.stat.version) - Int(version ?? -1)
        guard 0..<Value.maximumChanges ~= changes else { throw unknown }
        return false
    }
}
