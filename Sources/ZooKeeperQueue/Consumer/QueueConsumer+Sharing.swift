import DequeModule
import ZooKeeper

/// How a consumer shares its buffer with idle consumers, and lets more urgent messages go first.
extension QueueConsumer {
    /// How often the consumer checks its buffer.
    private static let oversightPeriod = Duration.seconds(1)
    /// How many more urgent messages the consumer takes although the buffer is full.
    private static let maximumUrgent = 8

    /// Puts a lease into the buffer, before less urgent ones.
    func enqueue(_ lease: Lease) {
        guard let last = buffer.last, lease.name.priority < last.name.priority else { return buffer.append(lease) }
        let place = buffer.firstIndex { $0.name.priority > lease.name.priority } ?? buffer.endIndex
        buffer.insert(lease, at: place)
    }

    /// How many of the messages that were read are more urgent than the last one in the buffer.
    var urgentPlaces: Int {
        guard !configuration.takesOnDemand, let last = buffer.last, let first = prepared.first,
            first.name.priority < last.name.priority, leases.count < configuration.prefetch + Self.maximumUrgent
        else { return 0 }
        return prepared.prefix(Self.maximumUrgent).prefix { $0.name.priority < last.name.priority }.count
    }

    /// Starts to check the buffer, for as long as messages wait there.
    func overseeSoon() {
        guard overseer == nil, !buffer.isEmpty, phase == .open, !configuration.takesOnDemand else { return }
        overseer = Task {
            while !Task.isCancelled, phase == .open, !buffer.isEmpty {
                // The consumer polls, because a watch would cost a busy consumer an event for each message.
                guard (try? await queue.store.sleep(for: Self.oversightPeriod)) != nil else { break }
                await oversee()
            }
            overseer = nil
            overseeSoon()
        }
    }

    private func oversee() async {
        guard let oldest = buffer.first, let registration, phase == .open,
            queue.store.now - oldest.takenAt >= Self.oversightPeriod
        else { return }
        do {
            let line = IdleLine(queue: queue, consumer: registration.name)
            if try await line.hasOthers(), !hasTakers {
                bufferLimit.shrink()
                leavesToOthers = true
                return await releaseBuffered()
            }
            if try await hasMoreUrgent() {
                forgetList()
                readSoon()
            }
        } catch {
            // The next check, or the consumer's next step, meets the same error.
        }
    }

    /// Whether a message is ready that is more urgent than the last one in the buffer.
    private func hasMoreUrgent() async throws -> Bool {
        let names = try await queue.store.children(of: queue.tree.items).names
        guard let last = buffer.last else { return false }
        return queue.skipped.usable(names, in: queue.tree.items).contains { name in
            ItemName(name, inEpoch: epoch.number).map { $0.priority < last.name.priority } ?? false
        }
    }

    /// Remembers a message that was given back, under the name that it has now.
    func noteGivenBack(_ settlement: Settlement) {
        let name = settlement.lease.name
        // The set is bounded. A message that is forgotten here is taken again a little sooner.
        if givenBack.count >= 1_000 { givenBack = [] }
        givenBack.insert(name.with(returns: name.returns + 1 + settlement.extraReturns))
    }
}
