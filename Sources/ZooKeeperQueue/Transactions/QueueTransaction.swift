public import ZooKeeper

/// Messages to store in queues, and changes of other nodes, that happen together and once, or not at all.
///
/// A consumer applies it together with an acknowledgement (``QueueMessage/acknowledge(in:)``), and any program with
/// ``MessageQueue/transaction(timeout:_:)``. All queues must be created with the same client.
///
/// ```swift
/// try await orders.transaction { transaction in
///     transaction.send(.init("charge", id: "order-42"), to: payments)
///     transaction.send(.init("pack"), to: warehouse)
///     transaction.add(.create("/orders/42", data: []))
/// }
/// ```
public struct QueueTransaction: Sendable {
    struct Send: Sendable {
        let message: OutgoingMessage
        let queue: MessageQueue
    }

    /// The changes of other nodes, in the order in which they were added.
    public private(set) var operations: [ZooKeeperOperation] = []
    private(set) var sends: [Send] = []

    /// How many messages it stores.
    package var messageCount: Int { sends.count }
    /// Whether it is applied also while a queue has reached its capacity.
    package var ignoresCapacity = false

    /// Creates a transaction that does nothing.
    public init() {}

    init(_ operations: [ZooKeeperOperation]) { self.operations = operations }

    /// Adds a message to store in a queue. Messages of one queue keep their order.
    public mutating func send(_ message: OutgoingMessage, to queue: MessageQueue) {
        sends.append(Send(message: message, queue: queue))
    }

    /// Adds messages to store in a queue, in their order.
    public mutating func send(contentsOf messages: some Sequence<OutgoingMessage>, to queue: MessageQueue) {
        for message in messages { send(message, to: queue) }
    }

    /// Adds a change of another node, or a check, with a path below the client's chroot. If ZooKeeper refuses it, for
    /// example a check of a version that has changed, nothing of the transaction happens.
    public mutating func add(_ operation: ZooKeeperOperation) { operations.append(operation) }
}

/// Two transactions are equal if they ask for the same: a repeated acknowledgement is recognized by that.
extension QueueTransaction: Hashable {
    /// Compares the operations, the messages, and the paths of the queues.
    public static func == (a: QueueTransaction, b: QueueTransaction) -> Bool {
        a.operations == b.operations
            && a.sends.elementsEqual(b.sends) {
                $0.message == $1.message && ExactString($0.queue.path) == ExactString($1.queue.path)
            }
    }

    /// Hashes what `==` compares.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(operations)
        for send in sends {
            hasher.combine(send.message)
            hasher.combine(ExactString(send.queue.path))
        }
    }
}
