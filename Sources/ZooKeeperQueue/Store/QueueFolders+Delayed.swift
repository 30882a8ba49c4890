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
            for slot in DelaySlot.slots(try await reader.usableNames(ofFolder: tree.delayedDay(day)), ofDay: day) {
                names += try await reader.usableNames(ofFolder: tree.delaySlot(slot)).compactMap { DelayedName($0) }
            }
        }
        return names
    }
}
