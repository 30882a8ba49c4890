import DequeModule
import Synchronization
import ZooKeeper

/// What goes into a consumer's next step.
extension QueueConsumer {
    /// What has gathered: settlements of one registration, and claims for the places that are free with them.
    func nextCommit() -> ConsumerCommit? {
        // What the multi has before anything is gathered: the consumer's own operations, the check of the epoch, and the place
        // in the line.
        var (count, bytes) = (4, 1_024 + holdings.progress.encoded().count)
        let ends = nextSettlements(&count, &bytes)
        guard let registration = ends.first?.lease.registration ?? registration else { return nil }
        var commit = ConsumerCommit(
            registration: registration, epoch: epoch, maximumDeliveries: maximumDeliveries, settlements: ends)
        if registration == self.registration {
            commit.claims = nextClaims(ends, count, bytes)
            // With a single message it stays the first in the line, until there is one that it cannot hand out at once.
            if commit.claims.count > 1 || !prepared.isEmpty || !ready.isEmpty(now: queue.store.now) {
                commit.place = place
            }
        }
        claiming = commit.claims
        if !claiming.isEmpty { readSoon() }
        return commit.isEmpty ? nil : commit
    }

    /// As many as fit into one multi, which is guarded by one registration.
    private func nextSettlements(_ count: inout Int, _ bytes: inout Int) -> [Settlement] {
        var batch: [Settlement] = []
        while let next = settlements.first {
            if next.lease.state == .settled {
                // By an attempt whose answer came after its asker was told that none had come.
                settlements.removeFirst()
                leaseIsGone(next)
                continue
            }
            guard batch.last.map({ $0.lease.registration == next.lease.registration }) ?? true else { break }
            // Of a batch, the lease is looked at, and deleted with its last message.
            let ends = Array(repeating: Operation.delete(next.lease.path), count: next.lease.index == nil ? 1 : 2)
            let operations = ends + next.consequences(queue, epoch, maximumDeliveries: maximumDeliveries)
            let size = operations.reduce(0) { $0 + queue.store.size(of: $1) }
            let fits =
                count + operations.count <= Request.maximumOperations && bytes + size <= queue.store.maximumRequestSize
            if !batch.isEmpty, !fits { break }
            count += operations.count
            bytes += size
            batch.append(next)
            settlements.removeFirst()
        }
        return batch
    }

    /// Messages are taken many at a time: together with settlements, or when none is left to hand out, or half of the
    /// places are free.
    private func nextClaims(_ ends: [Settlement], _ operations: Int, _ used: Int) -> [ReadyItem] {
        if leavesToOthers, !hasTakers { return [] }
        guard let registration, phase == .open, failure == nil, iterators.load(ordering: .relaxed) > 0,
            let first = prepared.first
        else { return [] }
        var places = Swift.max(free(endingWith: ends.count), urgentPlaces)
        guard places > 0, !ends.isEmpty || buffer.isEmpty || places >= (prefetch + 1) / 2 || urgentPlaces > 0 else {
            return []
        }
        if mustRenew, leases.isEmpty, ends.isEmpty {
            // The reader registers anew before it reads again.
            forgetList()
            readSoon()
            return []
        }
        if mustRenew || isTakenAlone(first.name) {
            guard buffer.isEmpty, hasTakers else { return [] }
            places = 1
        }
        guard queue.store.now - preparedAt <= Swift.max(.seconds(1), lastStep * 3) else {
            // A message of higher priority may have come.
            forgetList()
            readSoon()
            return []
        }
        var (bytes, claimed) = (used, 0)
        var claims: [ReadyItem] = []
        var count = operations
        while let next = prepared.first, places > 0, count + 2 <= Request.maximumOperations {
            if !claims.isEmpty, isTakenAlone(next.name) { break }
            if !hasTakers, givenBack.contains(next.name) { break }
            let size = size(ofClaiming: next, registration)
            (bytes, claimed) = (bytes + size, claimed + size)
            if bytes > queue.store.maximumRequestSize, !claims.isEmpty || !ends.isEmpty { break }
            if !claimLimit.allows(claimed), !claims.isEmpty || !ends.isEmpty { break }
            claims.append(next)
            count += 2
            prepared.removeFirst()
            places -= next.messages.count
        }
        return claims
    }

    /// Whether a message is taken only when somebody waits for it, and by itself.
    ///
    /// When a consumer fails, a recovery counts a delivery of all that it held, since it cannot tell what had been handed
    /// out. A message that brings its consumer down each time would take those that wait behind it along to the dead
    /// letters; so what has come back before is not held in advance.
    private func isTakenAlone(_ name: ItemName) -> Bool {
        name.returns >= Swift.min(2, maximumDeliveries - 1)
    }
}
