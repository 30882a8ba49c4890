import Dispatch
import Synchronization

/// A second handle with its own session, which tests whether the servers accept new sessions.
///
/// Opens and closes the handle on its own queue, because both calls block and the
/// connection's queue must stay responsive.
final class SessionProbe: Sendable {
    private enum State {
        case opening
        case open(CClientHandle)
        /// The handle could not be opened, or was closed.
        case ended
    }
    private let state = Mutex(State.opening)
    private let queue = DispatchQueue(label: "zookeeper.probe")

    init(id: HandleID, servers: String, sessionTimeout: Duration) {
        queue.async { [self] in
            let handle = try? CClientHandle(id: id, servers: servers, sessionTimeout: sessionTimeout, session: nil)
            state.withLock { $0 = handle.map(State.open) ?? .ended }
        }
    }

    /// Whether a server has accepted the probe's session, and the connection is still open.
    var isAccepted: Bool { state.withLock { if case .open(let handle) = $0 { handle.isConnected } else { false } } }

    /// Whether this probe will never be accepted, because its servers cannot be resolved or its session has expired.
    var hasEnded: Bool {
        state.withLock { state in
            switch state {
            case .opening: false
            case .open(let handle): handle.hasEnded
            case .ended: true
            }
        }
    }

    /// Closes the handle without waiting until it is closed.
    func close() {
        queue.async { [self] in
            let handle = state.withLock { state -> CClientHandle? in
                defer { state = .ended }
                if case .open(let handle) = state { return handle }
                return nil
            }
            handle?.close()
        }
    }
}
