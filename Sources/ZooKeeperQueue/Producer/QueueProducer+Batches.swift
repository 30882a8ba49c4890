import ZooKeeper

/// How what has gathered is sent.
extension QueueProducer {
    /// Sends what has gathered, as far as the lane allows. Batches begin on this thread, so that they are sent in the order
    /// of their versions, and a lone message wakes no other thread.
    func launch() {
        if isManaging { return }
        if mustManage {
            if lane.hasLanded { manage() }
            return
        }
        admit()
        while let batch = lane.nextBatch(overhead: Self.overhead) {
            flights += 1
            Task.immediate {
                let landing = await send(batch)
                flights -= 1
                for (entries, names) in lane.landed(batch.version, landing) { finish(entries, names: names) }
                launch()
                tellIfIdle()
            }
        }
        if lane.isStuck, !isManaging { manage() }
    }

    /// Whether there is something to do that later batches must wait for.
    private var mustManage: Bool {
        guard !lane.isEmpty else { return false }
        return lane.isHalted || !isPrepared || laneName == nil || mustReadEpoch || numbers != .left
            || usesIDs && buckets == nil || mustFindDuplicates
            || lane.version >= batchesOfALane
    }

    private func manage() {
        isManaging = true
        Task.immediate {
            if lane.isHalted { await sortOut() }
            while let batch = lane.firstUnresolved {
                if mustReadEpoch || numbers != .left { await attempt(readEpoch) }
                if usesIDs, buckets == nil { await attempt(readIDs) }
                await resolve(batch)
            }
            if !lane.isEmpty { await attempt(openLane) }
            if mustFindDuplicates { await attempt(findDuplicates) }
            if lane.isStuck { await attempt(findRoom) }
            isManaging = false
            launch()
            tellIfIdle()
        }
    }

    /// Sends a batch, for the first time or again.
    func send(_ batch: SendLane.Batch) async -> Result<[String?], any Error> {
        guard let laneName else { return .failure(Self.laneIsGone) }
        if usesIDs, buckets == nil { return .failure(BatchPlan.Refusal.idsAreElsewhere(Self.idsAreUnknown)) }
        let epoch = epoch
        let plan = BatchPlan(
            batch, lane: laneName, epoch: epoch, buckets: buckets ?? IDBuckets(), packing: packing, in: queue.tree)
        do {
            let nodes = plan.nodes(of: try await queue.store.multi(plan.operations))
            if let last = nodes.last.flatMap(Self.name), let name = ItemName(last, inEpoch: epoch.number),
                name.sequence > SequenceEpoch.lastNumber || name.sequence < 0
            {
                numbers = .used
            }
            room.noteStored(nodes: plan.groups.count, messages: batch.entries.count)
            return .success(
                zip(plan.groups, nodes).flatMap { group, result in
                    NodePacking.names(group.count, node: Self.name(result), in: epoch)
                })
        } catch {
            return .failure(plan.judged(error))
        }
    }

    private static let idsAreUnknown = ZooKeeperError(
        code: .deadlineExceeded, message: "Where ids are remembered could not be read.", path: nil, outcome: .notApplied
    )

    private static let laneIsGone = ZooKeeperError(
        code: .noNode, message: "The producer's lane is gone.", path: nil, operationIndex: 0, outcome: .notApplied)

    func tellIfIdle() {
        guard lane.isEmpty, flights == 0, !isManaging else { return }
        let waiters = idleWaiters
        idleWaiters = []
        for waiter in waiters { waiter.resume() }
    }

    private static func name(_ result: OperationResult) -> String? {
        guard case .created(let path) = result else { return nil }
        return NodePath.name(of: path)
    }

    private func attempt(_ step: () async throws -> Void) async {
        do {
            try await step()
        } catch {
            await handle(error, isOfBatch: false)
        }
    }

    /// Waits for the end of a passage from one epoch to the next, but not for long: who began it may have failed.
    func readEpoch() async throws {
        var current = try await queue.sequenceEpoch()
        if current.phase == .closing || numbers != .left && current.number == epoch.number {
            current = try await queue.sequenceEpoch(after: current, within: .seconds(1))
        }
        // A message is also refused when somebody else has made a node of its number: it is tried again.
        if current.number != epoch.number || numbers == .refused { numbers = .left }
        use(try await queue.sharedSettings())
        epoch = current
        mustReadEpoch = false
        if numbers == .used { throw Self.noNumberLeft }
    }

    /// The version of the epoch also changes when the settings do.
    private func use(_ settings: SharedSettings) {
        // With one delivery alone, a consumer that fails would take all messages of a node to the dead letters.
        let deliveries = settings.maximumDeliveries ?? queue.settings.maximumDeliveries
        packing.messagesPerNode = deliveries > 1 ? settings.messagesPerNode : 1
        room.bound = settings.bound
        lane.isGated = !settings.bound.isNone
    }

    private static let noNumberLeft = ZooKeeperError(
        code: .deadlineExceeded,
        message: "The server has no number left for a message, which a recovery sees to: is one running?", path: nil,
        outcome: .notApplied)

    /// Somebody has sent the same ids before: as a rule, not only one of them. What is read to be there was stored; what is not
    /// read may be there all the same, and is refused then.
    private func findDuplicates() async throws {
        mustFindDuplicates = false
        guard let buckets else { return }
        let entries = lane.waitingWithIDs(500)
        for number in buckets.numbers {
            let readings = try await queue.read(entries.map { queue.tree.id($0.id ?? "", inBucket: number) })
            // An id that may not be read exists all the same.
            finishDuplicates(zip(entries, readings).filter { !$1.isMissing }.map { $0.0 })
        }
    }

    private func readIDs() async throws { buckets = try await queue.idBuckets() }

    private func openLane() async throws {
        if !isPrepared {
            try await queue.prepare()
            isPrepared = true
        }
        if mustReadEpoch || numbers != .left { try await readEpoch() }
        if usesIDs, buckets == nil { try await readIDs() }
        // Never changed while a batch is unresolved, which only its own lane can resolve.
        if laneName != nil, lane.version < batchesOfALane || !lane.batches.isEmpty { return }
        let old = laneName ?? formerLaneName
        let name = nextLaneName ?? UniqueName.make()
        nextLaneName = name
        do {
            _ = try await queue.store.create(queue.tree.lane(name), data: [], mode: .persistent)
        } catch let error as ZooKeeperError where error.code == .nodeExists {
            // The answer to an earlier attempt with this very name was lost; nobody else knows the name.
        }
        laneName = name
        nextLaneName = nil
        formerLaneName = nil
        lane.renewed()
        if let old { try? await queue.store.delete(queue.tree.lane(old), version: nil) }
    }
}
