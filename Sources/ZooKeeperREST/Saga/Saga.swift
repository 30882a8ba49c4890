package import ZooKeeper

/// A saga: a transaction that is carried out in steps, for a gateway without transactions.
///
/// The preconditions are read first. Then new nodes are created, old nodes are deleted, data is set, and fleeting nodes
/// are deleted. When a process fails between two steps, this order leaves a message in two places and never in none. A
/// `set` that records progress (in a producer's or a consumer's node) comes after everything that it records.
///
/// When a step is refused because another client was faster, the earlier steps are undone in reverse, so that deleted
/// nodes exist again before created nodes are deleted.
package struct Saga: Sendable {
    package let operations: [ZooKeeperOperation]
    /// The indices of the operations in the order of their steps.
    let order: [Int]
    /// Nodes that the transaction both creates and deletes, which proves that no other client has them. They are
    /// ephemeral, so that they disappear even when the process fails in between.
    let fleeting: Set<ExactString>
    /// The nodes as they were read at the beginning.
    var nodes: [ExactString: Node]?
    var results: [OperationResult?]
    /// The index of the next step.
    var next = 0
    /// Whether the next step was sent and its response was lost.
    var isUncertain = false
    var compensations: [Compensation] = []
    /// The session in which the transaction was begun.
    var session: Int64 = 0
    /// Whether the transaction can be resumed from the step that it has reached.
    package internal(set) var canResume = true

    enum Compensation: Sendable {
        case create(String, data: [UInt8]?)
        case delete(String, version: Int32?)
        case set(String, data: [UInt8]?, version: Int32)
    }

    /// Plans the steps of a transaction.
    ///
    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/unimplemented``) for a transaction that deletes a node and
    ///   creates it again, because steps cannot do that without the risk of losing the node.
    package init(_ operations: [ZooKeeperOperation]) throws {
        self.operations = operations
        results = .init(repeating: nil, count: operations.count)
        var created: Set<ExactString> = []
        var deleted: Set<ExactString> = []
        for (index, operation) in operations.enumerated() {
            switch operation {
            case .create(let path, _, let mode, _) where !mode.isSequential:
                if deleted.contains(ExactString(path)) {
                    throw ZooKeeperError(
                        code: .unimplemented,
                        message:
                            "The transaction deletes a node and creates it again, which is not safe in steps. Use a "
                            + "gateway that supports transactions.",
                        path: path, operationIndex: index, outcome: .notApplied)
                }
                created.insert(ExactString(path))
            case .delete(let path, _): deleted.insert(ExactString(path))
            default: break
            }
        }
        let fleeting = created.intersection(deleted)
        let parents = Set(deleted.map { ExactString(Self.parent($0.string)) })
        self.fleeting = fleeting
        order = operations.indices
            .map { (index: $0, rank: Self.rank(operations[$0], fleeting: fleeting, parents: parents)) }
            .filter { $0.rank != .none }
            .sorted { ($0.rank.rawValue, $0.index) < ($1.rank.rawValue, $1.index) }
            .map(\.index)
    }

    private enum Rank: Int {
        case create
        /// A delete that another client may have made first. It comes before the deletes that are not refused, because
        /// those are harder to undo.
        case contendedDelete, delete, set, fleetingDelete, none
    }

    private static func rank(
        _ operation: ZooKeeperOperation, fleeting: Set<ExactString>, parents: Set<ExactString>
    ) -> Rank {
        let path = ExactString(operation.path)
        return switch operation {
        case .create: .create
        case .delete where fleeting.contains(path): .fleetingDelete
        case .delete(_, let version): version != nil && !parents.contains(path) ? .contendedDelete : .delete
        case .set: .set
        case .check: .none
        }
    }

    /// Returns whether the transaction has these operations. Compares the bytes of the paths too, because paths that
    /// are equal as strings may name two nodes.
    func matches(_ operations: [ZooKeeperOperation]) -> Bool {
        self.operations == operations
            && zip(self.operations, operations).allSatisfy { $0.path.isIdentical(to: $1.path) }
    }

    /// Returns the path without its last name; empty for a child of the root.
    static func parent(_ path: String) -> String {
        path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[..<$0]) } ?? ""
    }

    // MARK: Preconditions

    /// The paths of the nodes that must be read first.
    var paths: [String] {
        Set(
            operations.compactMap { operation -> ExactString? in
                if case .create(_, _, let mode, _) = operation, mode.isSequential { return nil }
                return ExactString(operation.path)
            }
        ).sorted().map(\.string)
    }

    /// Checks the preconditions of the operations.
    ///
    /// - Throws: ``ZooKeeperError`` for the first operation that would be refused.
    func verify(_ nodes: [ExactString: Node]) throws {
        var created: Set<ExactString> = []
        for (index, operation) in operations.enumerated() {
            let path = ExactString(operation.path)
            let node = nodes[path]
            func refuse(_ code: ZooKeeperError.Code) -> ZooKeeperError {
                ZooKeeperError(code: code, path: path.string, operationIndex: index, sent: true)
            }
            switch operation {
            case .create(_, _, let mode, _):
                if mode.isSequential { continue }
                if node != nil { throw refuse(.nodeExists) }
                created.insert(path)
            case .delete(_, let version), .set(_, _, let version), .check(_, let version):
                if created.contains(path) { continue }
                guard let node else { throw refuse(.noNode) }
                if let version, node.stat.version != version { throw refuse(.badVersion) }
                if case .delete = operation, node.stat.numChildren > deletedChildren(of: path.string) {
                    throw refuse(.notEmpty)
                }
            }
        }
    }

    private func deletedChildren(of path: String) -> Int {
        operations.count { operation in
            guard case .delete(let child, _) = operation else { return false }
            return Self.parent(child).isIdentical(to: path)
        }
    }
}
