import Synchronization

/// Why the last attempt to connect has failed, as far as the transport knows.
final class FailureReason: Sendable {
    private let reason = Mutex<String?>(nil)

    /// - Parameter reason: `nil` once the client is connected.
    func set(_ reason: String?) { self.reason.withLock { $0 = reason } }

    /// A sentence for an error message, with a space in front. Empty when there is no reason.
    var sentence: String { reason.withLock { $0.map { " The last attempt failed: \($0)" } ?? "" } }
}
