import ZooKeeper

/// Enforces the capacity of a queue.
extension ProducerStateMachine {
    /// Admits the sends that fit into the capacity, as last measured.
    mutating func admit(now: Duration) { sequence.admit { budget.admits($0, now: now) } }

    /// Handles a measurement of the queue's fill level.
    mutating func fillMeasured(_ fill: CapacityBudget.Fill, now: Duration) {
        budget.update(with: fill, now: now)
        admit(now: now)
        guard sequence.isStuck, case .findingCapacity(.fill(let pause))? = maintenance?.stage else { return }
        if configuration.whenFull == .fail { return finish(sequence.removeUnadmitted(), error: full(fill)) }
        // The queue may never have free capacity again.
        endAbandonedSends()
        guard sequence.isStuck else { return }
        capacityError = full(fill)
        // Polls, because no event reports free capacity: a watch on the messages would read the list of all of them.
        insert(.sleep(pause))
        maintenance?.stage = .findingCapacity(.epoch(pause: min(pause * 2, .seconds(1))))
    }

    private func full(_ fill: CapacityBudget.Fill) -> QueueError {
        budget.capacity.fullError(messages: budget.messages(in: fill), bytes: fill.bytes, queue: queue.path)
    }
}
