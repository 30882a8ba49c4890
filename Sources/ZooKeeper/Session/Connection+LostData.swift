import Logging

/// Detects an ensemble that has lost acknowledged data, because all its servers were wiped
/// or restored from an older backup.
///
/// The C client tells each server the newest zxid that it has seen. A server that is behind that zxid closes the
/// connection, and the C client tries the next server. After such a loss every server is behind, and the C client tries
/// them forever. It does not report the reason, and it neither exposes that zxid nor forgets it while the handle lives.
///
/// An outage of all servers looks the same to the client, and must not end the session, because the leader restarts the
/// session's timeout when the servers return. A *probe* distinguishes the two: a second handle that has seen no data.
/// When the servers accept the probe's session and never the client's, they refuse the client's. The probe needs no
/// four-letter word, which a server may not allow, and no zxid, of which responses show only a lower bound.
extension Connection {
    /// Ends the session after the servers have refused it for longer than it can live.
    func checkForLostData(_ handle: any SessionHandle) {
        let (id, timeout) = (session.current.sessionID, session.current.timeout)
        guard id != 0, timeout > .zero, let disconnectedSince, !handle.isConnected else { return }
        guard let probe, !probe.hasEnded else {
            closeProbe()
            // A client that merely changes from one server to another must not cost the servers another session.
            if disconnectedSince.duration(to: .now) >= timeout / 3 { openProbe() }
            return
        }
        guard probe.isAccepted else {
            acceptedSince = nil
            return
        }
        guard let acceptedSince else {
            self.acceptedSince = .now
            return
        }
        let servers = choice.current.utf8.count { $0 == UInt8(ascii: ",") } + 1
        guard acceptedSince.duration(to: .now) >= Self.refusalPatience(timeout: timeout, servers: servers) else {
            return
        }
        logger.error(
            "The ensemble has lost acknowledged data and refuses this session; opening a new one",
            metadata: [
                "likelyCause": "the servers were wiped, or restored from an older backup",
                "session": "0x\(String(id, radix: 16))", "refusedFor": "\(disconnectedSince.duration(to: .now))",
                "servers": "\(choice.current)",
            ])
        ended(handle, reason: "refused by every server")
    }

    /// Returns how long the servers must accept the probe before the client ends its own session as refused. It is at
    /// least the session timeout, because the ensemble has expired the session by then. It is also long enough for the
    /// C client to try each server: one that does not respond takes two thirds of the timeout.
    static func refusalPatience(timeout: Duration, servers: Int) -> Duration {
        max(timeout, timeout * 2 / 3 * (servers - 1)) + min(timeout / 3, .seconds(2))
    }

    func closeProbe() {
        probe?.close()
        (probe, acceptedSince) = (nil, nil)
    }
}
