import ZooKeeper

/// Applies many small groups of operations with as few multis as possible.
struct BulkWriter: Sendable {
    let store: any ZooKeeperStore
    let skipped: SkippedNodeRegistry

    /// The most groups in one multi.
    private static let maximumGroups = 300

    /// Applies groups of operations, many in one multi. Ignores groups whose nodes are gone. Skips a group that
    /// ZooKeeper refuses, and applies the others.
    ///
    /// - Parameter guards: the checks that each multi begins with. When one of them fails, the
    ///   remaining groups are not applied.
    /// - Returns: how many groups were applied, and whether no guard has failed.
    func apply(
        _ groups: [[ZooKeeperOperation]], guardedBy guards: [ZooKeeperOperation] = [],
        progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) async throws -> (done: Int, isComplete: Bool) {
        var rest = groups[...]
        var done = 0
        while !rest.isEmpty {
            try Task.checkCancellation()
            let count = max(1, min(Self.maximumGroups, store.countThatFits(rest, besides: guards.count)))
            var batch = Array(rest.prefix(count))
            while !batch.isEmpty {
                do {
                    _ = try await store.multi(guards + batch.flatMap { $0 })
                    done += batch.count
                    batch = []
                } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                    // Repeating a deletion is harmless, because groups with missing nodes are ignored.
                } catch let error as ZooKeeperError where error.isRefusal {
                    guard let index = error.operationIndex else {
                        guard batch.count == 1, error.concernsOneNode else { throw error }
                        skip(batch.removeFirst(), error)
                        continue
                    }
                    if index < guards.count {
                        if error.code == .badVersion { return (done, false) }
                        throw error
                    }
                    var end = guards.count
                    let failed = batch.firstIndex { group in
                        end += group.count
                        return index < end
                    }
                    guard let failed else { throw error }
                    let group = batch[failed]
                    // The permission to delete a node comes from its parent. So a refusal concerns this group alone
                    // only if the refused node is below the group's last one.
                    let isOwn = index < end - 1
                    guard error.concernsOneNode || isOwn || error.code == .noNode || error.code == .badVersion else {
                        throw error
                    }
                    batch.remove(at: failed)
                    if error.code != .noNode, error.code != .badVersion { skip(group, error) }
                }
            }
            rest = rest.dropFirst(count)
            progress(groups.count - rest.count, groups.count)
        }
        return (done, true)
    }

    private func skip(_ group: [ZooKeeperOperation], _ error: ZooKeeperError) {
        if let path = group.last?.path { skipped.skip(path, error) }
    }
}
