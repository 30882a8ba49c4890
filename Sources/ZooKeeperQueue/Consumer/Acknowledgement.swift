import ZooKeeper

/// What an acknowledgement does besides ending the lease.
struct Acknowledgement: Sendable {
    /// What the caller asks for.
    let transaction: QueueTransaction
    /// The operations that do it.
    let operations: [ZooKeeperOperation]

    init(_ operations: [ZooKeeperOperation] = []) {
        (transaction, self.operations) = (QueueTransaction(operations), operations)
    }

    init(_ transaction: QueueTransaction, _ operations: [ZooKeeperOperation]) {
        (self.transaction, self.operations) = (transaction, operations)
    }
}

/// Acknowledgements are equal when their callers ask for the same, because the operations of a repeated one can differ:
/// the epoch and the due times may have changed.
extension Acknowledgement: Hashable {
    static func == (a: Acknowledgement, b: Acknowledgement) -> Bool { a.transaction == b.transaction }
    func hash(into hasher: inout Hasher) { hasher.combine(transaction) }
}
