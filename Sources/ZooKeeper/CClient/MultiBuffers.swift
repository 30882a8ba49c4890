#if canImport(CZooKeeper)
import CZooKeeper
import Synchronization

/// The memory into which the C client writes the results of one multi.
///
/// The C client writes through these pointers until the multi's completion has run or the handle is closed, so the
/// ``MultiRegistry`` owns this object as long. The C client copies the operations, paths and data inside
/// `zoo_amulti`, so those live only as long as `withOperations`. See "Requests and results" in <doc:OverTheCClient>.
///
/// `@unchecked Sendable` is safe. After `zoo_amulti`, only the C client's threads write, and they have finished before
/// the completion reads, on one of them.
final class MultiBuffers: @unchecked Sendable {
    private let operations: [ZooKeeperOperation]
    private let results: UnsafeMutableBufferPointer<zoo_op_result_t>
    private let stats: UnsafeMutableBufferPointer<CZooKeeper.Stat>
    /// The names of the created nodes, one after the other.
    private let names: UnsafeMutableBufferPointer<CChar>

    init(_ operations: [ZooKeeperOperation]) {
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

    /// Returns the size of the path, a number of up to eleven characters, and a NUL. The C client
    /// silently truncates a longer name.
    private static func nameCapacity(_ operation: ZooKeeperOperation) -> Int {
        guard case .create(let path, _, _, _) = operation else { return 0 }
        return path.utf8.count + 12
    }

    // MARK: Sending

    /// Calls `body` with the operations as structures of the C client, and the memory for their results.
    func withOperations(
        _ body: (_ count: Int32, UnsafePointer<zoo_op_t>, UnsafeMutablePointer<zoo_op_result_t>) -> Int32
    ) -> Int32 {
        guard let resultsBase = results.baseAddress else { return Int32(ZBADARGUMENTS.rawValue) }
        let arena = CArena(capacity: operations.reduce(0) { $0 + Self.arenaSize($1) })
        // Consecutive operations mostly have the same list.
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
            // Never `nil`, because `Request.validate` refuses a multi without operations.
            return withExtendedLifetime((arena, acls)) {
                guard let base = ops.baseAddress else { return Int32(ZBADARGUMENTS.rawValue) }
                return body(Int32(operations.count), UnsafePointer(base), resultsBase)
            }
        }
    }

    private static func arenaSize(_ operation: ZooKeeperOperation) -> Int {
        let path = operation.path.utf8.count + 1
        switch operation {
        case .create(_, let data, _, _), .set(_, let data, _): return path + max(1, data?.count ?? 1)
        case .delete, .check: return path
        }
    }

    // MARK: Results

    /// Returns the code and the reply for the code of the completion. A multi that a server refused has the code of its
    /// failed operation.
    func reply(_ code: Int32) -> (Int32, Reply?) {
        if code == 0 { return (0, .multi(outcome())) }
        if ZooKeeperError.Code(rawValue: code).leavesOutcomeUnknown { return (code, nil) }
        return failure().map { ($0.code, .multiFailed(at: $0.index)) } ?? (code, nil)
    }

    /// Returns the results, after the completion has reported success.
    private func outcome() -> [OperationResult] {
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

    /// Returns the operation that made the multi fail: the first with a real error code. Operations before
    /// it report 0 although they were rolled back, and operations after it report -2; see
    /// "Requests and results" in <doc:OverTheCClient>.
    private func failure() -> (index: Int, code: Int32)? {
        guard let index = results.firstIndex(where: { $0.err != 0 && $0.err != ZRUNTIMEINCONSISTENCY.rawValue }) else {
            return nil
        }
        return (index, results[index].err)
    }
}

/// The memory of the process's multis in flight, by their tokens. It is not the handle's, because a completion knows
/// only its token.
final class MultiRegistry: Sendable {
    static let shared = MultiRegistry()

    private let buffers = Mutex<[UInt64: (handle: HandleID, MultiBuffers)]>([:])

    func add(_ buffer: MultiBuffers, token: UInt64, of handle: HandleID) {
        buffers.withLock { $0[token] = (handle, buffer) }
    }

    @discardableResult
    func remove(_ token: UInt64) -> MultiBuffers? { buffers.withLock { $0.removeValue(forKey: token)?.1 } }

    /// Removes what is left of a handle that is closed. The C client may drop completions when it closes. The memory of
    /// other handles of the same client is still in use.
    func removeAll(of handle: HandleID) { buffers.withLock { $0 = $0.filter { $0.value.handle != handle } } }

    /// The number of multis in flight. For tests.
    func count(of handle: HandleID) -> Int { buffers.withLock { $0.values.count { $0.handle == handle } } }
}
#endif
