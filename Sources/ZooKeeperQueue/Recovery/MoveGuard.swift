import ZooKeeper

/// The condition for moving messages. Each transaction checks it, and changes nothing where it does not hold.
enum MoveGuard {
    case nothing
    /// The consumer that holds the messages has failed. Each transaction creates the consumer's ephemeral node and
    /// deletes it again, which fails while the consumer lives. So no transaction takes messages from a live consumer.
    /// A consumer that completes its registration after it was read, and then settles messages, changes the version of
    /// its node.
    case failedConsumer(ObservedConsumer)
    /// The consumer that holds the messages has sent no transaction since it was read. The version of its node stays, so
    /// the consumer can still tell whether a transaction of its own was applied.
    case silentConsumer(ObservedConsumer)
    /// The epoch has not changed, so the new names still mean these messages.
    case epoch(SequenceEpoch)
    /// The epoch has not changed, and no slot of delayed messages was removed since its messages were listed. So the
    /// name of a delayed message still means that message.
    case delayed(SequenceEpoch, version: Int32)

    /// Adds the operations of the guard to the operations that move messages.
    ///
    /// - Returns: all operations, and how many operations of the guard come first.
    func around(_ operations: [ZooKeeperOperation], in tree: QueueTree) -> (
        before: Int, operations: [ZooKeeperOperation]
    ) {
        switch self {
        case .nothing: return (0, operations)
        case .silentConsumer(let consumer):
            return (1, [.check(consumer.paths.path, version: consumer.version)] + operations)
        case .failedConsumer(let consumer):
            let active = consumer.paths.active
            let before: [ZooKeeperOperation] = [
                .create(active, data: []), .check(consumer.paths.path, version: consumer.version),
            ]
            return (before.count, before + operations + [.delete(active)])
        case .epoch(let epoch): return (1, [epoch.check(in: tree)] + operations)
        case .delayed(let epoch, let version):
            return (2, [epoch.check(in: tree), .check(tree.delayed, version: version)] + operations)
        }
    }
}
