import ZooKeeper

extension MessageQueue {
    /// How far the counters of the queue and its ensemble are. It costs a few reads, one for each producer and consumer, and
    /// one write: of a node that is gone at once, since only a write tells where the ensemble is.
    ///
    /// - Throws: ``QueueError``; ``QueueError/Code/queueMissing`` when there is no queue.
    public func counters() async throws -> [QueueCounter] {
        try await QueueError.translating(while: "reading the counters", queue: path) {
            func created(_ path: String) async throws -> Int { try await store.exists(path)?.childrenCreated ?? 0 }
            func largestVersion(_ paths: [String]) async throws -> Int {
                try await read(paths).reduce(0) { max($0, Int($1.node?.stat.version ?? 0)) }
            }
            guard let items = try await store.exists(tree.items) else { throw missing }
            let consumers = try await names(tree.consumers)
            return [
                QueueCounter(kind: .messages, value: items.childrenCreated, end: settings.sequenceLimit),
                QueueCounter(kind: .consumers, value: try await created(tree.consumers), end: Int(Int32.max)),
                QueueCounter(
                    kind: .batches, value: try await largestVersion(try await names(tree.producers).map(tree.lane)),
                    end: Int(ProducerLimits.batchesOfANode)),
                QueueCounter(
                    kind: .steps, value: try await largestVersion(consumers.map { tree.consumer($0).path }),
                    end: Int(ConsumerConfiguration().stepsOfARegistration)),
                QueueCounter(
                    kind: .transactions, value: Int(try await probe().mzxid & 0xFFFF_FFFF), end: Int(UInt32.max)),
            ]
        }
    }

    /// Makes a change that leaves nothing behind, and returns its metadata. Only a write shows the ensemble's current
    /// zxid and clock.
    func probe() async throws -> Stat {
        let probe = "\(tree.root)/probe-\(UniqueName.make())"
        let results = try await store.multi([
            .create(probe, data: []), .set(probe, data: [], version: nil), .delete(probe),
        ])
        guard results.count == 3, case .set(let stat) = results[1] else {
            throw QueueError(
                .failed, "ZooKeeper answered a transaction of three operations with \(results.count) results.")
        }
        return stat
    }
}
