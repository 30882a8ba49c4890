#if canImport(CZooKeeper)
import CZooKeeper
import Glibc

/// A handle of the C client. One ``Connection`` owns it, opens and closes it on its own queue, and sends requests under
/// its submission lock, one thread at a time; see "Calls and callbacks" in <doc:OverTheCClient>. A ``SessionProbe``
/// owns a handle too, and sends no requests.
///
/// `@unchecked Sendable` is safe. Requests are sent under the submission lock, and the queue removes the handle from
/// the lock before it closes it. The other properties only read a word of the handle, and `authenticate` takes the C
/// client's own lock.
struct CClientHandle: SessionHandle, @unchecked Sendable {
    let id: HandleID
    private let handle: OpaquePointer

    /// Opens a handle. Blocks while host names are resolved. Callbacks may run before it returns.
    ///
    /// - Throws: The system's error message when none of the hosts can be resolved.
    init(_ options: SessionHandleOptions) throws(SessionHandleOpenError) {
        // The level is process-wide. At INFO the C client can crash on a reserved xid,
        // and at DEBUG it uses freed memory.
        zoo_set_debug_level(ZOO_LOG_LEVEL_WARN)
        errno = 0
        // The C client splits an address at the last colon, and treats brackets as part of the name.
        let hosts = String(options.servers.filter { $0 != "[" && $0 != "]" })
        let timeout = Int32(clamping: options.sessionTimeout.milliseconds)
        // The C client copies the identity.
        let identity = options.session.map { [clientid_t($0)] }
        guard let handle = czk_open(hosts, cclientWatcher, timeout, identity, options.id.rawValue, cclientLogged) else {
            throw SessionHandleOpenError(reason: errno == 0 ? "unknown reason" : String(cString: strerror(errno)))
        }
        // Without this, every iteration of the C client's loop resolves the hosts again; see
        // "Sessions and credentials" in <doc:OverTheCClient>.
        zoo_set_servers_resolution_delay(handle, -1)
        id = options.id
        self.handle = handle
    }

    var isConnected: Bool { zoo_state(handle) == ZOO_CONNECTED_STATE }
    var isDisconnected: Bool {
        let state = zoo_state(handle)
        return state != ZOO_CONNECTED_STATE && state != ZOO_ASSOCIATING_STATE
    }
    var hasEnded: Bool { [ZOO_EXPIRED_SESSION_STATE, ZOO_AUTH_FAILED_STATE].contains(zoo_state(handle)) }
    var sessionIdentity: SessionIdentity? {
        guard let id = zoo_client_id(handle), id.pointee.client_id != 0 else { return nil }
        return SessionIdentity(id.pointee)
    }
    var sessionTimeout: Duration { .milliseconds(Int(zoo_recv_timeout(handle))) }

    func authenticate(scheme: String, credentials: String) -> ZooKeeperError.Code? {
        ZooKeeperError.Code(
            result: zoo_add_auth(
                handle, scheme, credentials, Int32(credentials.utf8.count), cclientAuthenticated, czk_token(id.rawValue)
            ))
    }

    /// Completions run before it returns, and none runs afterwards.
    func close() {
        // Closing consumes an xid too. It needs no guard, because no response is matched by that number.
        XidGuard.shared.count()
        _ = zookeeper_close(handle)
        MultiRegistry.shared.removeAll(of: id)
    }

    func send(_ request: Request, token: UInt64) -> ZooKeeperError.Code? {
        guarded { submit(request, number: token) }
    }

    func removeWatches(_ key: WatchKey, token: UInt64) -> ZooKeeperError.Code? {
        let type = key.kind == .children ? ZWATCHTYPE_CHILD : ZWATCHTYPE_DATA
        return guarded { czk_remove_watches(handle, key.path, type, cclientRemovedWatches, token) }
    }

    private func guarded(_ call: () -> Int32) -> ZooKeeperError.Code? {
        let skip = { zoo_aget(handle, "", 0, cclientCompletedData, nil) }
        return ZooKeeperError.Code(result: XidGuard.shared.guarding(skip: skip, call: call))
    }

    private func submit(_ request: Request, number: UInt64) -> Int32 {
        let token = czk_token(number)
        let context = czk_context(id.rawValue)
        switch request {
        case .create(let path, let data, let mode, let acl):
            let bytes = CArena(capacity: max(1, data?.count ?? 1))
            let (value, count) = bytes.data(data)
            let list = CACL(acl)
            return withExtendedLifetime((bytes, list)) {
                guard let ttl = mode.timeToLive else {
                    return zoo_acreate2(
                        handle, path, value, count, list.pointer, mode.flags, cclientCompletedCreate, token)
                }
                return zoo_acreate2_ttl(
                    handle, path, value, count, list.pointer, mode.flags, ttl.milliseconds, cclientCompletedCreate,
                    token)
            }
        case .delete(let path, let version):
            return zoo_adelete(handle, path, version ?? -1, cclientCompletedVoid, token)
        case .exists(let path, let watch):
            return zoo_awexists(handle, path, watch ? cclientWatcher : nil, context, cclientCompletedStat, token)
        case .get(let path, let watch):
            return zoo_awget(handle, path, watch ? cclientWatcher : nil, context, cclientCompletedData, token)
        case .children(let path, let watch):
            return zoo_awget_children2(
                handle, path, watch ? cclientWatcher : nil, context, cclientCompletedChildren, token)
        case .set(let path, let data, let version):
            let bytes = CArena(capacity: max(1, data?.count ?? 1))
            let (value, count) = bytes.data(data)
            return withExtendedLifetime(bytes) {
                zoo_aset(handle, path, value, count, version ?? -1, cclientCompletedStat, token)
            }
        case .getACL(let path):
            return zoo_aget_acl(handle, path, cclientCompletedACL, token)
        case .setACL(let path, let acl, let version):
            let list = CACL(acl)
            // The C client only reads the list, although its signature declares it mutable.
            return withExtendedLifetime(list) {
                zoo_aset_acl(
                    handle, path, version ?? -1, UnsafeMutablePointer(mutating: list.pointer), cclientCompletedVoid,
                    token)
            }
        case .sync(let path):
            return zoo_async(handle, path, cclientCompletedString, token)
        case .reconfigure(let joining, let leaving):
            return zoo_areconfig(handle, joining, leaving, nil, -1, cclientCompletedData, token)
        case .multiRead, .addWatch, .whoAmI: return Int32(ZUNIMPLEMENTED.rawValue)
        case .multi(let operations):
            let buffers = MultiBuffers(operations)
            MultiRegistry.shared.add(buffers, token: number, of: id)
            let code = buffers.withOperations { count, operations, results in
                czk_amulti(handle, count, operations, results, cclientCompletedMulti, number)
            }
            if code != 0 { MultiRegistry.shared.remove(number) }
            return code
        }
    }
}

extension SessionIdentity {
    fileprivate init(_ id: clientid_t) {
        self.init(number: id.client_id, password: withUnsafeBytes(of: id.passwd) { Array($0) })
    }
}

extension clientid_t {
    fileprivate init(_ session: SessionIdentity) {
        self.init()
        client_id = session.number
        withUnsafeMutableBytes(of: &passwd) { $0.copyBytes(from: session.password.prefix($0.count)) }
    }
}
#endif
