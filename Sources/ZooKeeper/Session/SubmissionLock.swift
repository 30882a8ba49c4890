import Synchronization

/// Lets one thread at a time pass requests to the C client; see "Calls and callbacks" in <doc:OverTheCClient>. A
/// caller passes its own request on when the lock is free, without waking another thread. That saves a quarter of
/// the latency of a single request.
///
/// Only the connection's queue waits for the lock, and no code waits for a response while it holds the lock.
final class SubmissionLock: Sendable {
    private struct State {
        var handle: CClientHandle?
        /// Whether credentials await a response. Requests wait until then, because a multi that is sent before may
        /// abort the process; see "Requests and results" in <doc:OverTheCClient>.
        var isAuthenticating = false
    }
    private let state = Mutex(State())

    var isAuthenticating: Bool {
        get { state.withLock { $0.isAuthenticating } }
        set { state.withLock { $0.isAuthenticating = newValue } }
    }

    /// Sends further requests through this handle. `nil` holds them back.
    func use(_ handle: CClientHandle?) {
        state.withLock { state in
            state.handle = handle
            if handle == nil { state.isAuthenticating = false }
        }
    }

    /// Passes waiting requests to the C client, if the handle accepts them now.
    func drain(_ requests: RequestRegistry) { state.withLock { Self.drain($0, requests) } }

    /// Passes waiting requests to the C client, unless another thread holds the lock.
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
    /// - Returns: 0 when a completion will follow.
    func removeWatches(_ key: WatchKey, token: UInt64) -> Int32 {
        state.withLock { state in
            guard let handle = state.handle, !state.isAuthenticating, handle.isConnected else {
                return ZooKeeperError.Code.invalidState.rawValue
            }
            return handle.removeWatches(key, token: token)
        }
    }

    private static func drain(_ state: State, _ requests: RequestRegistry) {
        guard let handle = state.handle, !state.isAuthenticating, handle.isConnected else { return }
        while let pending = requests.read({ $0.nextToSend(now: .now) }) {
            let code = handle.send(pending)
            if code == 0 { continue }
            if ZooKeeperError.Code(rawValue: code) == .invalidState {
                // The connection was lost a moment ago. The next connection sends the request.
                requests.update { $0.postpone(pending.token) }
                return
            }
            requests.update { $0.refuse(pending.token, ZooKeeperError.Code(rawValue: code)) }
        }
    }
}

extension ZooKeeperError.Code {
    /// The C client's code for a handle that is not connected. Callers never see it, because the
    /// client postpones such a request.
    fileprivate static let invalidState = Self(rawValue: -9)
}
