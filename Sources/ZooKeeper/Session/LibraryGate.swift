import Synchronization

/// Lets one thread at a time hand requests to the library (rule 1): whoever submits a call does it at once when nobody
/// else is at it, without waking another thread for it; that is a quarter of a lone request's way.
///
/// Nothing waits for the lock but the connection's own queue, and nothing in it waits for an answer.
final class LibraryGate: Sendable {
    private struct State {
        var handle: LibraryHandle?
        /// Requests wait until the credentials were answered: a multi that is sent before may abort the process (rule 24).
        var isAuthenticating = false
    }
    private let state = Mutex(State())

    var isAuthenticating: Bool {
        get { state.withLock { $0.isAuthenticating } }
        set { state.withLock { $0.isAuthenticating = newValue } }
    }

    /// From here on requests go to this handle, or nowhere.
    func use(_ handle: LibraryHandle?) {
        state.withLock { state in
            state.handle = handle
            if handle == nil { state.isAuthenticating = false }
        }
    }

    /// Hands over what waits, if that is possible now.
    func drain(_ desk: CallDesk) { state.withLock { Self.drain($0, desk) } }

    /// The same, unless somebody is at it.
    ///
    /// - Returns: whether it was done; else it must be done later, since the other one may be through already.
    func drainIfFree(_ desk: CallDesk) -> Bool {
        state.withLockIfAvailable {
            Self.drain($0, desk)
            return true
        } ?? false
    }

    /// Asks for the removal of watches.
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

    private static func drain(_ state: State, _ desk: CallDesk) {
        guard let handle = state.handle, !state.isAuthenticating, handle.isConnected else { return }
        while let call = desk.read({ $0.nextToSend(now: .now) }) {
            let code = handle.send(call)
            if code == 0 { continue }
            if ZooKeeperError.Code(rawValue: code) == .invalidState {
                // It broke off just now. The next CONNECTED drains again.
                desk.update { $0.postpone(call.token) }
                return
            }
            desk.update { $0.refuse(call.token, ZooKeeperError.Code(rawValue: code)) }
        }
    }
}

extension ZooKeeperError.Code {
    /// The library's word for a handle that is not connected; callers never see it, since such a call is postponed.
    fileprivate static let invalidState = Self(rawValue: -9)
}
