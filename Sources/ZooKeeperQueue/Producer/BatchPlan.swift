import ZooKeeper

/// The operations of a batch, and what the refusal of one of them means.
struct BatchPlan: Sendable {
    let batch: SendLane.Batch
    let groups: [ArraySlice<SendLane.Entry>]
    private let epoch: SequenceEpoch
    private(set) var operations: [Operation]
    /// Where the creates of the messages' nodes begin.
    private let firstNode: Int
    /// The entries whose ids are stored by the operations behind those, one for each operation.
    private var idOwners: [SendLane.Entry] = []

    /// Its place among the operations, behind the lane's own.
    static let epochCheck = 1
    /// The most operations that an entry with an id has.
    static let operationsOfAnID = 3
    /// The most operations that are left for the entries, with the lane's own and the checks of the epoch and of the ids.
    static let maximumEntryOperations = Request.maximumOperations - 3
    /// Room in bytes for the multi's own header, and for the same three operations.
    static let overhead = 512

    init(
        _ batch: SendLane.Batch, lane: String, epoch: SequenceEpoch, buckets: IDBuckets, packing: NodePacking,
        in tree: QueueTree
    ) {
        self.batch = batch
        self.epoch = epoch
        groups = packing.groups(batch.entries)
        operations = [.set(tree.lane(lane), data: [], version: batch.version), epoch.check(in: tree)]
        let hasIDs = batch.entries.contains { $0.id != nil }
        if hasIDs { operations.append(buckets.check(in: tree)) }
        firstNode = operations.count
        operations += NodePacking.creates(groups, in: tree)
        if !hasIDs { return }
        for entry in batch.entries {
            guard let id = entry.id else { continue }
            let storing = buckets.operations(storing: id, in: tree)
            operations += storing
            idOwners += storing.map { _ in entry }
        }
    }

    // MARK: What its results mean

    /// The names of the batch's messages.
    func names(_ results: [OperationResult]) -> [String?] {
        var names: [String?] = []
        names.reserveCapacity(batch.entries.count)
        for (group, result) in zip(groups, nodes(of: results)) {
            NodePacking.add(group.count, node: Self.name(result), in: epoch, to: &names)
        }
        return names
    }

    /// Whether the server has given the last number that a producer may use.
    func hasUsedTheNumbers(_ results: [OperationResult]) -> Bool {
        guard let last = nodes(of: results).last.flatMap(Self.name), let name = ItemName(last, inEpoch: epoch.number)
        else { return false }
        return name.sequence > SequenceEpoch.lastNumber || name.sequence < 0
    }

    /// The results of the creates of the messages' nodes.
    private func nodes(of results: [OperationResult]) -> ArraySlice<OperationResult> {
        results.dropFirst(firstNode).prefix(groups.count)
    }

    private static func name(_ result: OperationResult) -> String? {
        guard case .created(let path) = result else { return nil }
        return NodePath.name(of: path)
    }

    /// An error in the producer's words, when it is about ids.
    func judged(_ error: any Error) -> any Error {
        guard let cause = error as? ZooKeeperError, let index = cause.operationIndex else { return error }
        if index > Self.epochCheck, index < firstNode { return Refusal.idsAreElsewhere(cause) }
        let place = index - firstNode - groups.count
        guard idOwners.indices.contains(place) else { return error }
        switch cause.code {
        case .nodeExists: return Refusal.duplicate(idOwners[place])
        case .noNode: return Refusal.idsAreElsewhere(cause)
        default: return error
        }
    }

    /// Why a batch was not stored, though nothing is wrong.
    enum Refusal: Error {
        /// A message of this id was stored before.
        case duplicate(SendLane.Entry)
        /// Another bucket is the present one.
        case idsAreElsewhere(ZooKeeperError)
    }
}
