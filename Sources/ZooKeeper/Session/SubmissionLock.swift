import Synchronization

/// Lets one thread at a time pass requests to the transport; see "Calls and callbacks" in <doc:OverTheCClient>. A
/// caller passes its own request on when the lock is free, without waking another thread. That saves a quarter of
/// the latency of a single request.
///
/// Only the connection's queue waits for the lock, and no code waits for a response while it holds the lock.
final class SubmissionLock: Sendable {
    private struct State {
        var handle: (any SessionHandle)?
        /// Whether credentials await a response. Requests wait until then, because a multi that is sent before may
        /// abort the process; see "Requests and results" in <doc:OverTheCClient>.
        var isAuthenticating = false
        /// Whether the connection knows that the handle is connected. A response to an earlier request could arrive
        /// before the sequences of watches hear of a new connection, and they would read again without a reason.
        var isConnected = false

        /// The handle, if it accepts requests now.
        var ready: (any SessionHandle)? {
            guard let handle, isConnected, !isAuthenticating, handle.isConnected else { return nil }
            return handle
        }
    }
    private let state = Mutex(State())

    var isAuthenticating: Bool {
        get { state.withLock { $0.isAuthenticating } }
        set { state.withLock { $0.isAuthenticating = newValue } }
    }

    /// Sends further requests only while the session is connected.
    func sessionIsConnected(_ isConnected: Bool) { state.withLock { $0.isConnected = isConnected } }

    /// Sends further requests through this handle. `nil` holds them back.
    func use(_ handle: (any SessionHandle)?) {
        state.withLock { state in
            state.handle = handle
            if handle == nil { (state.isAuthenticating, state.isConnected) = (false, false) }
        }
    }

    /// Passes waiting requests to the transport, if the handle accepts them now.
    func drain(_ requests: RequestRegistry) { state.withLock { Self.drain($0, requests) } }

    /// Passes waiting requests to the transport, unless another thread holds the lock.
    ///
    /// - Returns: Whether the lock was free. Otherwise the caller must schedule another attempt, because the other
    ///   thread may already have sent its last request.
    func drainIfFree(_ requests: RequestRegistry) -> Bool {
        state.withLockIfAvailable {
            Self.drain($0, requests)
            return true
        } ?? false
    }

    /// Requests the removal of watches.
    ///
    /// - Returns: `nil` when a completion will follow. Otherwise, why nothing was sent.
    func removeWatches(_ key: WatchKey, token: UInt64) -> ZooKeeperError.Code? {
        state.withLock { state in
            guard let handle = state.ready else { return .invalidState }
            return handle.removeWatches(key, token: token)
        }
    }

    private static func drain(_ state: State, _ requests: RequestRegistry) {
        guard let handle = state.ready else { return }
        while let pending = requests.read({ $0.nextToSend(now: .now) }) {
            guard let error = handle.send(pending.request, token: pending.token) else { continue }
            if error == .invalidState {
                // The connection was lost a moment ago. The next connection sends the request.
                requests.update { $0.postpone(pending.token) }
                return
            }
            requests.update { $0.refuse(pending.token, error) }
        }
    }
}
