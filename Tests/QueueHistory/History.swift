import Synchronization

/// The events that the processes of a queue recorded, in the order of recording.
package final class History: Sendable {
    private let storage = Mutex<[HistoryEvent]>([])

    package init() {}

    package var events: [HistoryEvent] { storage.withLock { $0 } }

    package func add(_ event: HistoryEvent) { storage.withLock { $0.append(event) } }
}
