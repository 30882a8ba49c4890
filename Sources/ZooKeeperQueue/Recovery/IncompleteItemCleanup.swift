import ZooKeeper

/// Removes items that a legacy client created empty and never filled.
///
/// Consumers skip such an item, because its producer may still be writing it. So incomplete items end up at the head of
/// the queue, and checking the first hundred is enough. The delete expects version 0 of the data, so it fails when the
/// producer has filled the item in the meantime. The check of the epoch protects another message of the same name.
struct IncompleteItemCleanup: RecoveryDuty {
    let queue: MessageQueue
    let ages: NodeAges
    let age: Duration
    private(set) var report = RecoveryReport()

    /// How many items, from the head of the queue, are checked in each pass.
    private static let maximumItems = 100

    mutating func run() async throws {
        let (store, tree) = (queue.store, queue.tree)
        let epoch = try await queue.reader.sequenceEpoch()
        let names = try await queue.reader.usableNames(tree.items).compactMap { ItemName($0, inEpoch: 0) }
        for path in names.sorted().prefix(Self.maximumItems).map({ tree.item($0.untagged) }) {
            // A complete item is not recorded as handled, because a consumer may skip it for another reason.
            guard let stat = try await queue.reader.usableStat(path), stat.dataLength == 0, stat.version == 0,
                ages.hasExpired(path, stat, since: stat.ctime, after: age)
            else { continue }
            try await queue.skipped.handle(path) {
                let removal = [epoch.check(in: tree), .delete(path, version: 0)]
                if try await store.attempt(removal, tolerating: .noNode, .badVersion) {
                    report.incompleteItemsRemoved += 1
                }
            }
        }
    }
}
