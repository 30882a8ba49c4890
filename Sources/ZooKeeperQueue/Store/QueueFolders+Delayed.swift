import ZooKeeper

/// The folders of delayed messages.
extension QueueFolders {
    /// Creates the nodes of slots, and of their days, where they are missing.
    ///
    /// They are created when the first message of a slot is sent. A recovery removes them when the slot has passed.
    func createSlots(_ slots: some Sequence<DelaySlot>) async throws {
        try await createLikeItems(tree.delayed)
        var days: Set<Int64> = []
        for slot in slots {
            if days.insert(slot.day).inserted { try await createLikeItems(tree.delayedDay(slot.day)) }
            try await createLikeItems(tree.delaySlot(slot))
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
