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
        let bytes = budget.capacity.bytes.map { " and \(fill.bytes ?? 0) of \($0) bytes" } ?? ""
        let messages = budget.capacity.messages.map { " of \($0)" } ?? ""
        return QueueError(
            .queueFull,
            "The queue \(queue.path) is full: \(budget.messages(in: fill))\(messages) messages\(bytes). Let "
                + "consumers catch up, purge the queue, or raise its capacity.")
    }
}
