#if canImport(CZooKeeper)
import CZooKeeper

extension SessionHandlePhase {
    /// The meaning of a session event of the C client.
    init(cclientState: Int32) {
        switch cclientState {
        case ZOO_CONNECTED_STATE: self = .connected
        case ZOO_EXPIRED_SESSION_STATE: self = .expired
        case ZOO_AUTH_FAILED_STATE: self = .authenticationFailed
        case ZOO_CONNECTING_STATE, ZOO_ASSOCIATING_STATE, ZOO_NOTCONNECTED_STATE: self = .connecting
        default: self = .other
        }
    }
}
#endif
