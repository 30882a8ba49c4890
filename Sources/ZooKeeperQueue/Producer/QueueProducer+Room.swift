import ZooKeeper

/// How a producer keeps the bound of a queue.
extension QueueProducer {
    /// Lets go what there is room for, as far as is known.
    func admit() {
        let now = queue.store.now
        lane.admit { room.admits($0, now: now) }
    }

    /// Looks how full the queue is, and again until there is room, or nobody waits for it.
    func findRoom() async throws {
        defer { fullness = nil }
        var pause = Duration.milliseconds(50)
        while lane.isStuck {
            // Nothing is sent, so that a check in a multi would tell that the bound was changed.
            try await readEpoch()
            guard lane.isStuck else { return }
            let fill = try await queue.fill(countingBytes: room.bound.bytes != nil)
            room.look(at: fill, now: queue.store.now)
            admit()
            guard lane.isStuck else { return }
            let full = full(fill)
            if whenFull == .fail { return finish(lane.removeUnadmitted(), error: full) }
            fullness = full
            // That there is room again is told by nobody: a watch on the messages would read the list of all of them.
            try await queue.store.sleep(for: pause)
            pause = min(pause * 2, .seconds(1))
        }
    }

    private func full(_ fill: SendRoom.Fill) -> QueueError {
        let bytes = room.bound.bytes.map { " and \(fill.bytes ?? 0) of \($0) bytes" } ?? ""
        let messages = room.bound.messages.map { " of \($0)" } ?? ""
        return QueueError(
            .queueFull,
            "The queue \(queue.path) is full: \(room.messages(in: fill))\(messages) messages\(bytes). Let consumers catch "
                + "up, purge it, or raise its bound.")
    }
}
