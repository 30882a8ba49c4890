import Logging

/// An ensemble that has lost acknowledged data: all its servers were wiped, or restored from an older backup.
///
/// The library tells each server the newest zxid that it has seen, and a server that knows less closes the connection, so
/// that the client goes on at a server that is up to date. After such a loss there is none, and the library asks for ever. It
/// tells nobody why, and it neither shows that zxid nor forgets it while the handle lives.
///
/// An outage of all servers looks the same from here, and must not end the session: when they return, the leader's clock of
/// the session begins anew. What tells the two apart is a *probe*, a handle that has seen nothing: when servers accept its
/// session all the time and never the client's, they refuse the client's. This needs no four-letter word, which a server may
/// not allow, and no zxid, of which replies show only a lower bound.
extension Connection {
    /// Ends the session when the servers have refused it for so long that it cannot live any more.
    func lookForLostData(_ handle: LibraryHandle) {
        let (id, timeout) = (session.current.sessionID, session.current.timeout)
        guard id != 0, timeout > .zero, let disconnectedSince, !handle.isConnected else { return }
        guard let probe, !probe.hasEnded else {
            closeProbe()
            // Long enough to spare the servers a further session while a client merely changes from one to another.
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
            """
            The ensemble lost acknowledged data: its servers accept new sessions and refuse this one, as they do with a \
            client that has seen more than they know. Were they wiped, or restored from an older backup? A new session is \
            opened, which sees what they have now.
            """,
            metadata: [
                "session": "0x\(String(id, radix: 16))", "refusedFor": "\(disconnectedSince.duration(to: .now))",
                "servers": "\(choice.current)",
            ])
        ended(handle, reason: "refused by every server")
    }

    /// How long servers accept the probe before the client's session is taken for refused, and ended: its whole timeout, since
    /// the ensemble has expired it then, if it ever knew it; and until the library has tried each of its servers, of which one
    /// that does not answer takes it two thirds of the timeout.
    static func refusalPatience(timeout: Duration, servers: Int) -> Duration {
        max(timeout, timeout * 2 / 3 * (servers - 1)) + min(timeout / 3, .seconds(2))
    }

    func closeProbe() {
        probe?.close()
        (probe, acceptedSince) = (nil, nil)
    }
}
