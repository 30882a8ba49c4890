import Synchronization

/// What the members of a queue did and saw, in the order in which they wrote it down.
package final class History: Sendable {
    private let storage = Mutex<[HistoryEvent]>([])

    package init() {}

    package var events: [HistoryEvent] { storage.withLock { $0 } }

    package func add(_ event: HistoryEvent) { storage.withLock { $0.append(event) } }
}
