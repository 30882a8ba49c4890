import ZooKeeper

/// What must hold when messages move. Each transaction checks it, and changes nothing where it does not hold.
enum MoveGuard {
    case nothing
    /// The consumer that holds the messages has failed. Each transaction creates the consumer's ephemeral node and
    /// deletes it again, which fails while the consumer lives: a living consumer can never be robbed.
    case consumer(FailedConsumer)
    /// The new names of the messages mean what they should.
    case epoch(SequenceEpoch)

    /// Puts the operations of the guard around those that move messages.
    ///
    /// - Returns: all operations, and how many of the guard's come first.
    func around(_ operations: [Operation], in tree: QueueTree) -> (before: Int, operations: [Operation]) {
        switch self {
        case .nothing: return (0, operations)
        case .consumer(let consumer):
            let active = consumer.paths.active
            let before: [Operation] = [
                .create(active, data: []), .check(consumer.paths.path, version: consumer.version),
            ]
            return (before.count, before + operations + [.delete(active)])
        case .epoch(let epoch): return (1, [epoch.check(in: tree)] + operations)
        }
    }
}

/// A failed consumer as it was read.
///
/// A consumer that finishes its registration after the read, and then settles messages, changes the version of its
/// node.
struct FailedConsumer {
    let paths: ConsumerPaths
    let version: Int32
    let progress: LeaseProgress
}
