import ZooKeeper

/// The transaction that stores a batch and raises the version of the producer's node.
struct BatchTransaction: Sendable {
    let batch: ProducerSequence.Batch
    private var creation: MessageCreation
    private let raise: ZooKeeperOperation

    var operations: [ZooKeeperOperation] { [raise] + creation.operations }
    var nodes: Int { creation.nodes.count }
    /// The message groups of the messages.
    var groups: Set<GroupKey> { creation.groups }

    /// The index of the epoch check, after the `set` of the producer's node.
    static let epochCheck = 1 + MessageCreation.epochCheck
    /// The most operations that the entries may have. The `set` of the producer's node and the checks of the epoch and
    /// of the ID buckets take the other three.
    static let maximumEntryOperations = Request.maximumOperations - 3
    /// The bytes that are reserved for the multi's own header and those three operations.
    static let overhead = 512

    init(
        _ batch: ProducerSequence.Batch, sequence: String, epoch: SequenceEpoch, buckets: DeduplicationBuckets,
        packer: BatchPacker, in tree: QueueTree
    ) {
        self.batch = batch
        creation = MessageCreation(batch.entries, epoch: epoch, buckets: buckets, packer: packer, in: tree)
        raise = .set(tree.producer(sequence), data: [], version: batch.version)
    }

    /// The states of these groups on which the operations depend; empty before they are known.
    private(set) var groupStates: [GroupKey: GroupState] = [:]
    /// Whether the states of groups must be read before the transaction is sent.
    var needsGroupStates: Bool { groupStates.isEmpty && !groups.isEmpty }

    /// Makes the operations that fit these states of the message groups.
    mutating func use(_ states: [GroupKey: GroupState]) {
        groupStates = states
        creation.use(states)
    }

    // MARK: Results

    /// Returns the names of the batch's messages.
    func names(_ results: [OperationResult]) -> [String?] { creation.names(results.dropFirst()) }

    /// Whether the server has assigned the last sequence number that a producer may use.
    func exhaustsSequenceNumbers(_ results: [OperationResult]) -> Bool {
        creation.exhaustsSequenceNumbers(results.dropFirst())
    }

    /// Translates an error to a ``MessageCreation/Refusal`` if it is one. Returns any other error unchanged.
    func translated(_ error: any Error) -> any Error {
        guard let cause = error as? ZooKeeperError, let index = cause.operationIndex, index > 0 else { return error }
        return creation.refusal(at: index - 1, cause) ?? error
    }
}
