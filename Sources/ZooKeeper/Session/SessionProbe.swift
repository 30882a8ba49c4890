import Dispatch
import Synchronization

/// A second handle with its own session, which tests whether the servers accept new sessions.
///
/// Opens and closes the handle on its own queue, because both calls block and the
/// connection's queue must stay responsive.
final class SessionProbe: Sendable {
    private enum State {
        case opening
        case open(any SessionHandle)
        /// The handle could not be opened, or was closed.
        case ended
    }
    private let state = Mutex(State.opening)
    private let queue = DispatchQueue(label: "zookeeper.probe")

    init(_ transport: ZooKeeperTransport, _ options: SessionHandleOptions) {
        queue.async { [self] in
            let handle = try? transport.open(options, IgnoringDelegate())
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
            let handle = state.withLock { state -> (any SessionHandle)? in
                defer { state = .ended }
                if case .open(let handle) = state { return handle }
                return nil
            }
            handle?.close()
        }
    }
}

/// Ignores the events of a probe, whose session has no watches and sends no requests.
private final class IgnoringDelegate: SessionHandleDelegate {
    func sessionEvent(_ handle: HandleID, phase: SessionHandlePhase) {}
    func watchEvent(_ event: WatchEvent) {}
    func authenticated(_ handle: HandleID, error: ZooKeeperError.Code?) {}
    func watchesRemoved(_ token: UInt64, error: ZooKeeperError.Code?) {}
    func completed(_ token: UInt64, error: ZooKeeperError.Code?, reply: Reply?) {}
    func attemptFailed(_ handle: HandleID, reason: String) {}
    func armedWatches() -> [WatchKey] { [] }
}
