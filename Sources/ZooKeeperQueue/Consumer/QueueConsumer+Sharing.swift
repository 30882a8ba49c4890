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
        guard let last = buffer.last, lease.name < last.name else { return buffer.append(lease) }
        buffer.insert(lease, at: buffer.firstIndex { lease.name < $0.name } ?? buffer.endIndex)
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
            var pause = Self.oversightPeriod
            while !Task.isCancelled, phase == .open, !buffer.isEmpty {
                // The consumer polls, because a watch would cost a busy consumer an event for each message.
                guard (try? await queue.store.sleep(for: pause)) != nil else { break }
                // A twentieth of the time may go into listing a long queue.
                pause = Swift.max(Self.oversightPeriod, await oversee() * 20)
            }
            overseer = nil
            overseeSoon()
        }
    }

    /// - Returns: how long it took to list the ready messages.
    private func oversee() async -> Duration {
        guard let oldest = buffer.first, let registration, phase == .open,
            queue.store.now - oldest.takenAt >= Self.oversightPeriod
        else { return .zero }
        do {
            let line = IdleLine(queue: queue, consumer: registration.name)
            if try await line.hasOthers(), !hasTakers {
                bufferLimit.shrink()
                leavesToOthers = true
                await releaseBuffered()
                return .zero
            }
            guard leases.count < configuration.prefetch + Self.maximumUrgent else { return .zero }
            let start = queue.store.now
            let names = try await queue.store.children(of: queue.tree.items).names
            readUrgent(names)
            return queue.store.now - start
        } catch {
            // The next check, or the consumer's next step, meets the same error.
            return .zero
        }
    }

    /// Reads next what is more urgent than the last message in the buffer; the rest of the list stays.
    private func readUrgent(_ names: [String]) {
        guard let last = buffer.last else { return }
        let known = Set((prepared + claiming).map(\.name))
        let urgent = queue.skipped.usable(names, in: queue.tree.items).compactMap { name -> ListedItem? in
            guard let item = ItemName(name, inEpoch: epoch.number), item.priority < last.name.priority,
                !known.contains(item)
            else { return nil }
            return ListedItem(name: item, isEarlier: false)
        }
        if urgent.isEmpty { return }
        ready.putBack(Array(urgent.sorted().prefix(Self.maximumUrgent)))
        reread([])
        readSoon()
    }

    /// Remembers a message that was given back, under the name that it has now.
    func noteGivenBack(_ settlement: Settlement) {
        let name = settlement.lease.name
        // The set is bounded. A message that is forgotten here is taken again a little sooner.
        if givenBack.count >= 1_000 { givenBack = [] }
        givenBack.insert(name.with(returns: name.returns + 1 + settlement.extraReturns))
    }
}
