import ZooKeeper

/// Enforces the capacity of a queue.
extension ProducerStateMachine {
    /// Admits the sends that fit into the capacity, as last measured.
    mutating func admit(now: Duration) { lane.admit { room.admits($0, now: now) } }

    /// Handles a measurement of the queue's fill level.
    mutating func fillMeasured(_ fill: CapacityBudget.Fill, now: Duration) {
        room.look(at: fill, now: now)
        admit(now: now)
        guard lane.isStuck, case .findingRoom(.fill(let pause))? = maintenance?.stage else { return }
        if configuration.whenFull == .fail { return finish(lane.removeUnadmitted(), error: full(fill)) }
        // No room may ever come.
        endAbandoned()
        guard lane.isStuck else { return }
        fullness = full(fill)
        // Polls, because no event reports free capacity: a watch on the messages would read the list of all of them.
        insert(.sleep(pause))
        maintenance?.stage = .findingRoom(.epoch(pause: min(pause * 2, .seconds(1))))
    }

    private func full(_ fill: CapacityBudget.Fill) -> QueueError {
        let bytes = room.capacity.bytes.map { " and \(fill.bytes ?? 0) of \($0) bytes" } ?? ""
        let messages = room.capacity.messages.map { " of \($0)" } ?? ""
        return QueueError(
            .queueFull,
            "The queue \(queue.path) is full: \(room.messages(in: fill))\(messages) messages\(bytes). Let consumers catch "
                + "up, purge the queue, or raise its capacity.")
    }
}
