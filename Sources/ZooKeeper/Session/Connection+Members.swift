import Logging

/// The ensemble's members may change while a client lives, until none of the servers that it was given is left.
///
/// The library can be told of other servers, but mixes up answers then (rule 14). So the present handle stays with its list for
/// as long as it is connected; when that has ended, and none of its list answers, another handle with the other list goes on
/// with the same session.
extension Connection {
    /// Asks who the members are, and to be told when that changes. An ensemble before 3.5, or one whose administrator keeps it
    /// secret, does not say.
    func readMembers() {
        guard configuration.followsMembers, mayReadMembers, case .open(let handle) = phase else { return }
        let request = Request.get(path: EnsembleMembers.path, watch: true)
        guard let watch = request.watch, (try? watches.reserve(watch, isKept: true)) != nil else { return }
        let call = Call(
            token: nextToken(), request: request, deadline: .now + configuration.callDeadline,
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
        desk.submit(call)
        drain()
    }

    /// Unless the next connection has asked already.
    private func readMembers(through handle: LibraryHandle) {
        if case .open(let current) = phase, current.id == handle.id, handle.isConnected { readMembers() }
    }

    /// How long the library tries its own list when a connection is lost, before another list is tried.
    func firstPatience(_ timeout: Duration) -> Duration { timeout / 10 }

    /// Tries the other list when this one leads nowhere: first after a moment, and then again and again, each for a third of
    /// the session timeout, since a server that does not answer at all takes the library two thirds.
    func tryOtherServers(_ handle: LibraryHandle) {
        let timeout = session.current.timeout
        guard timeout > .zero, let triedSince else { return }
        let patience = isFirstTry ? firstPatience(timeout) : timeout / 3
        guard triedSince.duration(to: .now) >= patience else { return }
        self.triedSince = .now
        isFirstTry = false
        moveSession(from: handle)
    }

    /// Opens another handle for the same session, if there are other servers to be tried. To close a handle that is connected
    /// would end the session, so one that is about to be is left alone too; when it connects in this very moment, the session
    /// has expired for the new handle, and a new one is opened.
    private func moveSession(from handle: LibraryHandle) {
        guard handle.isDisconnected, choice.tryOther() else { return }
        inherited = handle.sessionIdentity
        phase = .opening
        closeProbe()
        closeHandle(handle)
        logger.info("Other servers of the ensemble are tried", metadata: ["servers": "\(choice.current)"])
        open()
    }

    /// A new handle does not know what its session has seen, so that the library would be content with a server that is behind
    /// it. The first thing that is sent through it makes that server catch up.
    func catchUp(_ handle: LibraryHandle) {
        let call = Call(
            token: nextToken(), request: .sync(path: "/"), deadline: .now + max(session.current.timeout, .seconds(1)),
            waiter: .inner { [weak self] result in
                switch result {
                case .success: self?.onQueue { $0.caughtUp(handle) }
                // Rarely: a lost answer is asked for again by the next connection.
                case .failure: self?.onQueue(after: .milliseconds(100)) { $0.catchUpAgain(handle) }
                }
            })
        desk.begin(call)
        let code = handle.send(call)
        if code != 0 { desk.update { $0.refuse(call.token, ZooKeeperError.Code(rawValue: code)) } }
    }

    private func catchUpAgain(_ handle: LibraryHandle) {
        if mustCatchUp(handle), handle.isConnected { catchUp(handle) }
    }

    private func mustCatchUp(_ handle: LibraryHandle) -> Bool {
        guard case .open(let current) = phase else { return false }
        return current.id == handle.id && mustSync
    }

    private func caughtUp(_ handle: LibraryHandle) {
        guard mustCatchUp(handle) else { return }
        mustSync = false
        gate.use(handle)
        drain()
    }
}
