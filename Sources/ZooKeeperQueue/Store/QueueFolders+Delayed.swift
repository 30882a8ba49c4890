import ZooKeeper

/// The folders of delayed messages.
extension QueueFolders {
    /// Creates the nodes of slots, and of their days, where they are missing.
    ///
    /// They are created when the first message of a slot is sent. A recovery removes them when the slot has passed.
    func createSlots(_ slots: some Sequence<DelaySlot>) async throws {
        let slots = Array(slots)
        let days = Set(slots.map(\.day)).sorted().map(tree.delayedDay)
        for paths in [[tree.delayed], days, slots.map(tree.delaySlot)] { try await createLikeItems(paths) }
    }

    /// Creates nodes where they are missing, many at a time.
    private func createLikeItems(_ paths: [String]) async throws {
        for start in stride(from: 0, to: paths.count, by: MessageMover.batchSize) {
            try await withThrowingDiscardingTaskGroup { group in
                for path in paths.dropFirst(start).prefix(MessageMover.batchSize) {
                    group.addImmediateTask { try await createLikeItems(path) }
                }
            }
        }
    }

    /// Returns the names of all delayed messages.
    func delayedNames() async throws -> [DelayedName] {
        var names: [DelayedName] = []
        for day in DelaySlot.days(try await reader.usableNames(ofFolder: tree.delayed)) {
            names += try await delayedNodes(ofDay: day).compactMap { DelayedName($0) }
        }
        return names
    }

    /// Returns the names of the nodes in a day's slots. Lists many slots at a time, because a day has up to 1,440.
    func delayedNodes(ofDay day: Int64) async throws -> [String] {
        let slots = DelaySlot.slots(try await reader.usableNames(ofFolder: tree.delayedDay(day)), ofDay: day)
        var names: [String] = []
        for start in stride(from: 0, to: slots.count, by: MessageMover.batchSize) {
            try await withThrowingTaskGroup(of: [String].self) { group in
                for slot in slots.dropFirst(start).prefix(MessageMover.batchSize) {
                    group.addTask { try await reader.usableNames(ofFolder: tree.delaySlot(slot)) }
                }
                for try await found in group { names += found }
            }
        }
        return names
    }
}
