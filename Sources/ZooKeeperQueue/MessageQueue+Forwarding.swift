import ZooKeeper

/// What producers and recoveries still ask of the queue itself.
extension MessageQueue {
    func node(_ path: String) async throws -> Node? { try await reader.node(path) }
    func names(_ path: String) async throws -> [String] { try await reader.names(path) }
    func read(_ paths: [String]) async throws -> [NodeReading] { try await reader.read(paths) }
    func readUsable(_ paths: [String]) async throws -> [Node?] { try await reader.readUsable(paths) }
    func usableStat(_ path: String) async throws -> Stat? { try await reader.usableStat(path) }
    func sequenceEpoch() async throws -> SequenceEpoch { try await reader.sequenceEpoch() }
    func sequenceEpoch(after old: SequenceEpoch, within limit: Duration) async throws -> SequenceEpoch {
        try await reader.sequenceEpoch(after: old, within: limit)
    }
    func sharedSettings() async throws -> SharedSettings { try await attributes.read() }
    func fill(countingBytes: Bool) async throws -> SendRoom.Fill {
        try await usage.fill(countingBytes: countingBytes)
    }
    @discardableResult
    func restoreMissingFolders() async throws -> Bool { try await folders.restoreMissing() }
    func idBuckets() async throws -> IDBuckets { try await folders.idBuckets() }
    func applyAll(
        _ groups: [[Operation]], guardedBy guards: [Operation]
    ) async throws -> (done: Int, isComplete: Bool) { try await writer.apply(groups, guardedBy: guards) }
    func probe() async throws -> Stat { try await store.probe(below: tree.root) }
}
