package import ZooKeeper

/// A transaction made of steps, for a gateway that has none: what must hold is read first, then what is new is created, then what
/// is old is deleted, and then what is set is set.
///
/// In this order a message is in two places when the process fails between two steps, and never in none; and what a set says (a
/// producer's lane, a consumer's node) is said when all of it is true. A step that is refused after all, because somebody was
/// faster, has those before it undone in reverse, so that what was deleted is there again before what was created goes.
package struct SteppedTransaction: Sendable {
    package let operations: [Operation]
    /// The operations in the order of their steps.
    let order: [Int]
    /// Nodes that are created and deleted again, which make sure that nobody has them. As ephemeral ones they go also when the
    /// process fails in between.
    let fleeting: Set<ExactString>
    /// What was read of the nodes.
    var nodes: [ExactString: Node]?
    var results: [OperationResult?]
    /// The next step.
    var next = 0
    /// Whether the next step was tried, without an answer.
    var isInDoubt = false
    var undoing: [Undo] = []
    /// The session in which it was begun.
    var session: Int64 = 0
    /// Whether it can be repeated from where it stands.
    package internal(set) var canGoOn = true

    enum Undo: Sendable {
        case create(String, data: [UInt8]?)
        case delete(String, version: Int32?)
        case set(String, data: [UInt8]?, version: Int32)
    }

    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/unimplemented``) for one that deletes a node and creates it anew, which
    ///   cannot be done so that nothing is lost.
    package init(_ operations: [Operation]) throws {
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
                            "A node is deleted and created anew, which takes a gateway that announces transactions.",
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
        /// Somebody may be faster: before those that are not refused, since they are harder to undo.
        case contendedDelete, delete, set, fleetingDelete, none
    }

    private static func rank(
        _ operation: Operation, fleeting: Set<ExactString>, parents: Set<ExactString>
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

    /// Whether it is made of these operations. Paths that are equal as strings may be two.
    func isOf(_ operations: [Operation]) -> Bool {
        self.operations == operations
            && zip(self.operations, operations).allSatisfy { $0.path.isIdentical(to: $1.path) }
    }

    /// The path without its last name; empty for a child of the root.
    static func parent(_ path: String) -> String {
        path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[..<$0]) } ?? ""
    }

    // MARK: What must hold

    /// The nodes that must be read first.
    var paths: [String] {
        Set(
            operations.compactMap { operation -> ExactString? in
                if case .create(_, _, let mode, _) = operation, mode.isSequential { return nil }
                return ExactString(operation.path)
            }
        ).sorted().map(\.string)
    }

    /// - Throws: ``ZooKeeperError`` for the first operation that would be refused.
    func verify(_ nodes: [ExactString: Node]) throws {
        var created: Set<ExactString> = []
        for (index, operation) in operations.enumerated() {
            let path = ExactString(operation.path)
            let node = nodes[path]
            func refuse(_ code: ZooKeeperError.Code) -> ZooKeeperError { Self.refused(code, path.string, index) }
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

    static func refused(_ code: ZooKeeperError.Code, _ path: String, _ index: Int) -> ZooKeeperError {
        ZooKeeperError(
            code: code, message: "An operation of the transaction was refused.", path: path, operationIndex: index,
            outcome: .notApplied)
    }
}
