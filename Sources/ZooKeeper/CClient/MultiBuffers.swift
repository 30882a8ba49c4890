import CZooKeeper

/// The memory of one multi: where the library writes the results of its operations.
///
/// The library writes through these pointers until the multi's completion has run, or the handle is closed, so the
/// object is owned by the call's entry, which lives as long (rule 25). What the library only reads (operations, paths,
/// data) it copies inside `zoo_amulti`, so that lives no longer than `withOperations`.
///
/// `@unchecked Sendable` is safe: after `zoo_amulti` only the library's threads write, and they are done before the
/// completion reads; one thread at a time reads, under the lock of the calls' queue.
final class MultiBuffers: @unchecked Sendable {
    private let operations: [Operation]
    private let results: UnsafeMutableBufferPointer<zoo_op_result_t>
    private let stats: UnsafeMutableBufferPointer<CZooKeeper.Stat>
    /// The names of created nodes, one after the other.
    private let names: UnsafeMutableBufferPointer<CChar>

    init(_ operations: [Operation]) {
        self.operations = operations
        results = .allocate(capacity: operations.count)
        results.initialize(repeating: zoo_op_result_t())
        stats = .allocate(capacity: operations.count)
        stats.initialize(repeating: CZooKeeper.Stat())
        names = .allocate(capacity: operations.reduce(0) { $0 + Self.nameCapacity($1) })
        names.initialize(repeating: 0)
    }

    deinit {
        results.deallocate()
        stats.deallocate()
        names.deallocate()
    }

    /// The path, a number of up to eleven characters, and the end: the library cuts silently what does not fit.
    private static func nameCapacity(_ operation: Operation) -> Int {
        guard case .create(let path, _, _, _) = operation else { return 0 }
        return path.utf8.count + 12
    }

    // MARK: Sending

    /// Calls `body` with the operations in the library's form, and the place for their results.
    func withOperations(
        _ body: (_ count: Int32, UnsafePointer<zoo_op_t>, UnsafeMutablePointer<zoo_op_result_t>) -> Int32
    ) -> Int32 {
        guard let resultsBase = results.baseAddress else { return Int32(ZBADARGUMENTS.rawValue) }
        let arena = CArena(capacity: operations.reduce(0) { $0 + Self.arenaSize($1) })
        // One after the other they are mostly the same.
        var acls: [(list: [ACL], pointer: CACL)] = []
        var nameOffset = 0
        return withUnsafeTemporaryAllocation(of: zoo_op_t.self, capacity: operations.count) { ops in
            ops.initialize(repeating: zoo_op_t())
            for (index, operation) in operations.enumerated() {
                let op = ops.baseAddress.map { $0 + index }
                switch operation {
                case .create(let path, let data, let mode, let acl):
                    let list = acl ?? .open
                    let cacl = acls.last { $0.list == list }?.pointer ?? CACL(list)
                    if acls.last?.list != list { acls.append((list, cacl)) }
                    let (bytes, count) = arena.data(data)
                    let capacity = Self.nameCapacity(operation)
                    zoo_create_op_init(
                        op, arena.string(path), bytes, count, cacl.pointer, mode.flags,
                        names.baseAddress.map { $0 + nameOffset }, Int32(capacity))
                    nameOffset += capacity
                case .delete(let path, let version):
                    zoo_delete_op_init(op, arena.string(path), version ?? -1)
                case .set(let path, let data, let version):
                    let (bytes, count) = arena.data(data)
                    zoo_set_op_init(
                        op, arena.string(path), bytes, count, version ?? -1, stats.baseAddress.map { $0 + index })
                case .check(let path, let version):
                    zoo_check_op_init(op, arena.string(path), version ?? -1)
                }
            }
            // Non-nil: a multi has at least one operation, which `Request.validate` has seen to.
            return withExtendedLifetime((arena, acls)) {
                guard let base = ops.baseAddress else { return Int32(ZBADARGUMENTS.rawValue) }
                return body(Int32(operations.count), UnsafePointer(base), resultsBase)
            }
        }
    }

    private static func arenaSize(_ operation: Operation) -> Int {
        let path = operation.path.utf8.count + 1
        switch operation {
        case .create(_, let data, _, _), .set(_, let data, _): return path + max(1, data?.count ?? 1)
        case .delete, .check: return path
        }
    }

    // MARK: Results

    /// The results, once the completion has run with success.
    func outcome() -> [OperationResult] {
        var nameOffset = 0
        return operations.enumerated().map { index, operation in
            switch operation {
            case .create(let path, _, _, _):
                defer { nameOffset += Self.nameCapacity(operation) }
                let name = UnsafeRawBufferPointer(names)[nameOffset...].prefix { $0 != 0 }
                return .created(path: name.isEmpty ? path : String(decoding: name, as: UTF8.self))
            case .delete: return .deleted
            case .set: return .set(Stat(stats[index]))
            case .check: return .checked
            }
        }
    }

    /// The operation that failed the multi: the first with a real error. Those before it say 0 though they were rolled
    /// back, and those after it say -2 (rule 27).
    func failure() -> (index: Int, code: ZooKeeperError.Code, path: String)? {
        guard let index = results.firstIndex(where: { $0.err != 0 && $0.err != ZRUNTIMEINCONSISTENCY.rawValue }) else {
            return nil
        }
        return (index, ZooKeeperError.Code(rawValue: results[index].err), operations[index].path)
    }
}
