import Logging

/// Follows a reconfiguration of the ensemble, even when none of the configured servers is left.
///
/// The C client can be given other servers, but then mixes up responses; see "Sessions and credentials" in
/// <doc:OverTheCClient>. So the current handle keeps its list for as long as it is connected. When the connection is
/// lost and no server of the list responds, another handle continues the same session with the other list.
extension Connection {
    /// Reads the ensemble's servers, and watches for changes. An ensemble before ZooKeeper 3.5, or one that denies
    /// access to its configuration, reveals no servers.
    func readMembers() {
        guard configuration.followsReconfiguration, configuration.transport.usesReportedAddresses, mayReadMembers,
            case .open(let handle) = phase
        else { return }
        let request = Request.get(path: EnsembleMembers.path, watch: true)
        guard let watch = request.watch, (try? watches.reserve(watch, isKept: true)) != nil else { return }
        let pending = PendingRequest(
            token: nextToken(), request: request, deadline: .now + configuration.requestTimeout,
            waiter: .inner { [weak self] result in
                switch result {
                case .success(.node(let node)): self?.onQueue { $0.choice.learn(EnsembleMembers(node.data)) }
                case .failure(let error as ZooKeeperError) where [.deadlineExceeded, .overloaded].contains(error.code):
                    self?.onQueue(after: .seconds(5)) { $0.readMembers(through: handle) }
                case .failure(let error as ZooKeeperError) where error.code == .sessionClosedRequireSaslAuth:
                    // Otherwise each new connection would ask again, and the server would close it.
                    self?.onQueue { $0.mayReadMembers = false }
                case .success, .failure: break
                }
            })
        requests.submit(pending)
        drain()
    }

    /// Reads the servers again, unless a newer connection has already done so.
    private func readMembers(through handle: any SessionHandle) {
        if case .open(let current) = phase, current.id == handle.id, handle.isConnected { readMembers() }
    }

    /// Returns how long the transport tries its own list after a lost connection, before
    /// the client tries the other list.
    func firstPatience(_ timeout: Duration) -> Duration { timeout / 10 }

    /// Tries the other list when no server of the current one responds: first after a short delay, then
    /// each list in turn for a third of the session timeout, because a transport needs two thirds for a
    /// server that does not respond at all.
    func tryOtherServers(_ handle: any SessionHandle) {
        let timeout = session.current.timeout
        guard timeout > .zero, let triedSince else { return }
        let patience = isFirstTry ? firstPatience(timeout) : timeout / 3
        guard triedSince.duration(to: .now) >= patience else { return }
        self.triedSince = .now
        isFirstTry = false
        moveSession(from: handle)
    }

    /// Opens another handle for the same session, if the other list has other servers.
    ///
    /// Closing a connected handle would end the session, so the client also leaves alone a handle that is about to
    /// connect. If the handle connects at this very moment, closing it ends the session: the new handle finds it
    /// expired, and the client opens a new one.
    private func moveSession(from handle: any SessionHandle) {
        guard handle.isDisconnected, choice.tryOther() else { return }
        inherited = handle.sessionIdentity
        phase = .opening
        closeProbe()
        closeHandle(handle)
        logger.info("Trying other servers of the ensemble", metadata: ["servers": "\(choice.current)"])
        open()
    }

    /// Makes the server of a new handle catch up, with the first request that is sent through the handle. A new handle
    /// does not know what its session has seen, so the C client would accept a server that is behind it.
    func catchUp(_ handle: any SessionHandle) {
        let pending = PendingRequest(
            token: nextToken(), request: .sync(path: "/"), deadline: .now + max(session.current.timeout, .seconds(1)),
            waiter: .inner { [weak self] result in
                switch result {
                case .success: self?.onQueue { $0.caughtUp(handle) }
                // This is rare, because a `sync` whose response was lost is repeated on the next connection.
                case .failure: self?.onQueue(after: .milliseconds(100)) { $0.catchUpAgain(handle) }
                }
            })
        requests.begin(pending)
        guard let error = handle.send(pending.request, token: pending.token) else { return }
        requests.update { $0.refuse(pending.token, error) }
    }

    private func catchUpAgain(_ handle: any SessionHandle) {
        if mustCatchUp(handle), handle.isConnected { catchUp(handle) }
    }

    private func mustCatchUp(_ handle: any SessionHandle) -> Bool {
        guard case .open(let current) = phase else { return false }
        return current.id == handle.id && mustSync
    }

    private func caughtUp(_ handle: any SessionHandle) {
        guard mustCatchUp(handle) else { return }
        mustSync = false
        submissionLock.use(handle)
        drain()
    }
}
