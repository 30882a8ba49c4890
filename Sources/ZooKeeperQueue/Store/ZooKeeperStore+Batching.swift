import ZooKeeper

extension ZooKeeperStore {
    /// Returns how many of the first groups of operations fit into one multi.
    ///
    /// - Parameters:
    ///   - operations: how many other operations the multi has.
    ///   - bytes: how many bytes those have.
    func countThatFits(_ groups: some Sequence<[ZooKeeperOperation]>, besides operations: Int = 3, bytes: Int = 1_024)
        -> Int
    {
        var (operations, bytes, count) = (operations, bytes, 0)
        for group in groups {
            operations += group.count
            bytes += group.reduce(0) { $0 + size(of: $1) }
            if bytes > maximumRequestSize || operations > Request.maximumOperations { break }
            count += 1
        }
        return count
    }
}
