import Logging

/// The ensemble's members may change while a client lives, until none of the servers that it was given is left.
///
/// The library can be told of other servers, but mixes up answers then (rule 14). So the present handle stays with its list for
/// as long as it is connected; when that ends, another handle with the new list goes on with the same session.
extension Connection {
    /// Asks who the members are, and to be told when that changes. An ensemble before 3.5, or one whose administrator keeps it
    /// secret, does not say.
    func readMembers() {
        guard configuration.followsMembers else { return }
        let request = Request.get(path: EnsembleMembers.path, watch: true)
        guard let watch = request.watch, (try? watches.reserve(watch)) != nil else { return }
        desk.submit(
            Call(
                token: nextToken(), request: request, deadline: .now + configuration.callDeadline,
                waiter: .inner { [weak self] result in
                    guard case .success(.node(let node)) = result else { return }
                    self?.onQueue { $0.choice.learn(EnsembleMembers(node.data)) }
                }))
        drain()
    }

    /// Tries the other list when this one has led nowhere for a third of the session timeout: a server that does not answer at
    /// all takes the library two thirds.
    func tryOtherServers(_ handle: LibraryHandle) {
        let timeout = session.current.timeout
        guard timeout > .zero, let triedSince, triedSince.duration(to: .now) >= timeout / 3 else { return }
        self.triedSince = .now
        moveSession(from: handle) { $0.failed() }
    }

    /// A new handle does not know what its session has seen, so that the library would be content with a server that is behind
    /// it. The first thing that is sent through it makes that server catch up.
    func catchUp(_ handle: LibraryHandle) {
        let call = Call(
            token: nextToken(), request: .sync(path: "/"), deadline: .now + configuration.callDeadline,
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
