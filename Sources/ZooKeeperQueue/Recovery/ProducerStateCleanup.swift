import ZooKeeper

/// Removes the nodes of producers that have been silent for long, which would otherwise accumulate in `producers`.
///
/// A producer changes the version of its node with each batch. The delete expects the version that was read, so it
/// fails when the producer has come back in the meantime. A producer whose node is gone creates another one.
struct ProducerStateCleanup: RecoveryDuty {
    let queue: MessageQueue
    let ages: NodeAges
    let retention: Duration
    private(set) var report = RecoveryReport()

    mutating func run() async throws {
        let (store, tree) = (queue.store, queue.tree)
        for name in try await queue.reader.usableNames(tree.producers) {
            let path = tree.producer(name)
            try await queue.skipped.handle(path) {
                guard let stat = try await store.exists(path),
                    ages.hasExpired(path, stat, since: stat.mtime, after: retention)
                else { return }
                let deletion = ZooKeeperOperation.delete(path, version: stat.version)
                if try await store.attempt([deletion], tolerating: .noNode, .badVersion) {
                    report.producerStatesRemoved += 1
                }
            }
        }
    }
}
