import CZooKeeper
import Glibc

/// A handle of the C client. It is owned by one ``Connection``, which opens and closes it on its own queue and sends
/// through its gate, one thread at a time (rules 1 and 2).
///
/// `@unchecked Sendable`: requests are sent under the gate's lock; the queue takes the handle out of the gate before it
/// closes it; what it asks the handle besides only reads a word, and `authenticate` takes the library's own lock.
struct LibraryHandle: @unchecked Sendable {
    let id: HandleID
    private let handle: OpaquePointer

    /// Opens a handle; callbacks may run before this returns. It blocks while host names are resolved.
    ///
    /// - Parameter session: the session to go on with, whose former handle is closed; `nil` begins one.
    /// - Throws: the system's word when none of the hosts can be resolved.
    init(id: HandleID, servers: String, sessionTimeout: Duration, session: SessionIdentity?) throws(LibraryOpenError) {
        // Process-wide: at INFO the library can crash on a reserved xid, at DEBUG it uses freed memory.
        zoo_set_debug_level(ZOO_LOG_LEVEL_WARN)
        errno = 0
        // The library splits at the last colon, and takes brackets for a part of the name.
        let hosts = String(servers.filter { $0 != "[" && $0 != "]" })
        let timeout = Int32(clamping: sessionTimeout.milliseconds)
        // It copies the identity.
        let identity = session.map { [$0.clientID] }
        guard let handle = czk_open(hosts, libraryWatcher, timeout, identity, id.rawValue, libraryLogged) else {
            throw LibraryOpenError(reason: errno == 0 ? "unknown reason" : String(cString: strerror(errno)))
        }
        // Else every turn of the library's loop resolves the hosts again (rule 3).
        zoo_set_servers_resolution_delay(handle, -1)
        self.id = id
        self.handle = handle
    }

    /// Whether the session is established, so that requests are sent at once.
    var isConnected: Bool { zoo_state(handle) == ZOO_CONNECTED_STATE }
    /// Whether it neither is connected nor has a connection on which it waits for the session.
    var isDisconnected: Bool {
        let state = zoo_state(handle)
        return state != ZOO_CONNECTED_STATE && state != ZOO_ASSOCIATING_STATE
    }
    /// Whether the handle will never be connected, because its session has expired or its credentials were refused.
    var hasEnded: Bool { [ZOO_EXPIRED_SESSION_STATE, ZOO_AUTH_FAILED_STATE].contains(zoo_state(handle)) }
    /// The session's number; 0 before the first connection.
    var sessionID: Int64 { zoo_client_id(handle)?.pointee.client_id ?? 0 }
    /// The session's number and password, by which another handle takes it over; `nil` before the first connection.
    var sessionIdentity: SessionIdentity? {
        guard let id = zoo_client_id(handle), id.pointee.client_id != 0 else { return nil }
        return SessionIdentity(clientID: id.pointee)
    }
    /// The timeout on which the server and the client agreed.
    var sessionTimeout: Duration { .milliseconds(Int(zoo_recv_timeout(handle))) }

    /// Adds the credentials; the library sends them again on each connection.
    func authenticate(scheme: String, credentials: String) -> Int32 {
        zoo_add_auth(
            handle, scheme, credentials, Int32(credentials.utf8.count), libraryAuthenticated, czk_token(id.rawValue))
    }

    /// Closes the session. It blocks for up to some seconds; completions run before it returns and none after it.
    func close() {
        // It takes an xid too, but nobody waits for the answer by that number, so it need not be guarded.
        XidGuard.shared.count()
        _ = zookeeper_close(handle)
    }

    /// Hands a request to the library.
    ///
    /// - Returns: 0 when a completion will come, else the code with which the library refused it: nothing was sent.
    func send(_ call: Call) -> Int32 {
        guarded { submit(call) }
    }

    /// Asks for the removal of the session's watches on a path. The token identifies the completion.
    ///
    /// - Returns: 0 when a completion will follow, else the code with which the library refused the request.
    func removeWatches(_ key: WatchKey, token: UInt64) -> Int32 {
        let type = key.kind == .children ? ZWATCHTYPE_CHILD : ZWATCHTYPE_DATA
        return guarded { czk_remove_watches(handle, key.path, type, libraryRemovedWatches, token) }
    }

    private func guarded(_ call: () -> Int32) -> Int32 {
        XidGuard.shared.guarding(burn: { zoo_aget(handle, "", 0, libraryCompletedData, nil) }, call: call)
    }

    private func submit(_ call: Call) -> Int32 {
        let token = czk_token(call.token)
        let context = czk_context(id.rawValue)
        switch call.request {
        case .create(let path, let data, let mode, let acl):
            let bytes = CArena(capacity: max(1, data?.count ?? 1))
            let (value, count) = bytes.data(data)
            let list = CACL(acl)
            return withExtendedLifetime((bytes, list)) {
                guard let ttl = mode.timeToLive else {
                    return zoo_acreate2(
                        handle, path, value, count, list.pointer, mode.flags, libraryCompletedCreate, token)
                }
                return zoo_acreate2_ttl(
                    handle, path, value, count, list.pointer, mode.flags, ttl.milliseconds, libraryCompletedCreate,
                    token)
            }
        case .delete(let path, let version):
            return zoo_adelete(handle, path, version ?? -1, libraryCompletedVoid, token)
        case .exists(let path, let watch):
            return zoo_awexists(handle, path, watch ? libraryWatcher : nil, context, libraryCompletedStat, token)
        case .get(let path, let watch):
            return zoo_awget(handle, path, watch ? libraryWatcher : nil, context, libraryCompletedData, token)
        case .children(let path, let watch):
            return zoo_awget_children2(
                handle, path, watch ? libraryWatcher : nil, context, libraryCompletedChildren, token)
        case .set(let path, let data, let version):
            let bytes = CArena(capacity: max(1, data?.count ?? 1))
            let (value, count) = bytes.data(data)
            return withExtendedLifetime(bytes) {
                zoo_aset(handle, path, value, count, version ?? -1, libraryCompletedStat, token)
            }
        case .getACL(let path):
            return zoo_aget_acl(handle, path, libraryCompletedACL, token)
        case .setACL(let path, let acl, let version):
            let list = CACL(acl)
            // The library only reads the list, though its signature does not say so.
            return withExtendedLifetime(list) {
                zoo_aset_acl(
                    handle, path, version ?? -1, UnsafeMutablePointer(mutating: list.pointer), libraryCompletedVoid,
                    token)
            }
        case .sync(let path):
            return zoo_async(handle, path, libraryCompletedString, token)
        case .reconfigure(let joining, let leaving):
            return zoo_areconfig(handle, joining, leaving, nil, -1, libraryCompletedData, token)
        case .multi:
            guard let multi = call.multi else { return Int32(ZBADARGUMENTS.rawValue) }
            return multi.withOperations { count, operations, results in
                czk_amulti(handle, count, operations, results, libraryCompletedVoid, call.token)
            }
        }
    }
}

/// A session's number and password.
struct SessionIdentity: Sendable {
    let clientID: clientid_t

    var number: Int64 { clientID.client_id }
    var password: [UInt8] { withUnsafeBytes(of: clientID.passwd) { Array($0) } }
}

/// The library could not open a handle.
struct LibraryOpenError: Error {
    let reason: String
}
