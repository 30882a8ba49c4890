#if canImport(CZooKeeper)
import CZooKeeper

// The functions that the C client calls on its own threads. They are nonisolated and in a file of their own, because a
// closure that is passed as a callback from isolated code inherits that isolation and traps on another thread. Each
// function copies its arguments, because they are valid only until it returns, and finds the receiver by an integer
// token. See "Calls and callbacks" in <doc:OverTheCClient>.

/// The one watcher function of all handles and paths. The context identifies the handle; see
/// "Calls and callbacks" in <doc:OverTheCClient>.
nonisolated func cclientWatcher(
    _ handle: OpaquePointer?, type: Int32, state: Int32, path: UnsafePointer<CChar>?, context: UnsafeMutableRawPointer?
) {
    let id = HandleID(rawValue: czk_token_value(context))
    guard let target = CallbackRegistry.shared[id.client] else { return }
    if type == ZOO_SESSION_EVENT {
        target.sessionEvent(id, phase: SessionHandlePhase(cclientState: state))
    } else if let path, let kind = WatchEvent.Kind(cclientType: type) {
        target.watchEvent(WatchEvent(kind: kind, path: String(cString: path)))
    }
}

nonisolated func cclientAuthenticated(code: Int32, data: UnsafeRawPointer?) {
    // Can run under the C client's lock, so it only records the result; see
    // "Calls and callbacks" in <doc:OverTheCClient>.
    let id = HandleID(rawValue: czk_token_value(data))
    CallbackRegistry.shared[id.client]?.authenticated(id, error: ZooKeeperError.Code(result: code))
}

nonisolated func cclientRemovedWatches(code: Int32, data: UnsafeRawPointer?) {
    let token = czk_token_value(data)
    CallbackRegistry.shared[HandleID.client(ofToken: token)]?.watchesRemoved(
        token, error: ZooKeeperError.Code(result: code))
}

nonisolated func cclientCompletedVoid(code: Int32, data: UnsafeRawPointer?) {
    deliver(code, nil, data)
}

nonisolated func cclientCompletedMulti(code: Int32, data: UnsafeRawPointer?) {
    let token = czk_token_value(data)
    let (code, reply) = MultiRegistry.shared.remove(token)?.reply(code) ?? (code, nil)
    deliver(code, reply, data)
}

nonisolated func cclientCompletedStat(code: Int32, stat: UnsafePointer<CZooKeeper.Stat>?, data: UnsafeRawPointer?) {
    deliver(code, (code == 0 ? stat : nil).map { .stat(Stat($0.pointee)) }, data)
}

nonisolated func cclientCompletedData(
    code: Int32, value: UnsafePointer<CChar>?, count: Int32, stat: UnsafePointer<CZooKeeper.Stat>?,
    data: UnsafeRawPointer?
) {
    guard code == 0, let stat else { return deliver(code, nil, data) }
    // Null data has the length -1; see "Requests and results" in <doc:OverTheCClient>.
    var bytes: [UInt8]?
    if count >= 0 { bytes = value.map { Array(UnsafeRawBufferPointer(start: $0, count: Int(count))) } ?? [] }
    deliver(code, .node(Node(data: bytes, stat: Stat(stat.pointee))), data)
}

/// Returns the elements of a C vector. A damaged response can contain a negative count, which would trap.
private nonisolated func elements<Element>(
    _ start: UnsafeMutablePointer<Element>?, count: Int32?
) -> UnsafeBufferPointer<Element> {
    UnsafeBufferPointer(start: start, count: start == nil ? 0 : Swift.max(0, Int(count ?? 0)))
}

nonisolated func cclientCompletedChildren(
    code: Int32, strings: UnsafePointer<String_vector>?, stat: UnsafePointer<CZooKeeper.Stat>?, data: UnsafeRawPointer?
) {
    guard code == 0, let stat else { return deliver(code, nil, data) }
    let vector = elements(strings?.pointee.data, count: strings?.pointee.count)
    let names = vector.compactMap { $0.map { String(cString: $0) } }
    deliver(code, .children(NodeChildren(names: names, stat: Stat(stat.pointee))), data)
}

nonisolated func cclientCompletedCreate(
    code: Int32, path: UnsafePointer<CChar>?, stat: UnsafePointer<CZooKeeper.Stat>?, data: UnsafeRawPointer?
) {
    guard code == 0, let path else { return deliver(code, nil, data) }
    let created = CreatedNode(path: String(cString: path), stat: stat.map { Stat($0.pointee) } ?? Stat())
    deliver(code, .created(created), data)
}

nonisolated func cclientCompletedString(code: Int32, string: UnsafePointer<CChar>?, data: UnsafeRawPointer?) {
    deliver(code, nil, data)
}

nonisolated func cclientCompletedACL(
    code: Int32, acl: UnsafeMutablePointer<ACL_vector>?, stat: UnsafeMutablePointer<CZooKeeper.Stat>?,
    data: UnsafeRawPointer?
) {
    guard code == 0, let stat else { return deliver(code, nil, data) }
    let vector = elements(acl?.pointee.data, count: acl?.pointee.count)
    let entries = vector.map { entry in
        ACL(
            ACL.Permissions(rawValue: entry.perms), scheme: entry.id.scheme.map { String(cString: $0) } ?? "",
            id: entry.id.id.map { String(cString: $0) } ?? "")
    }
    deliver(code, .acl(NodeACL(entries: entries, stat: Stat(stat.pointee))), data)
}

nonisolated func cclientLogged(message: UnsafePointer<CChar>?) {
    guard let message else { return }
    CClientLog.shared.append(String(cString: message))
}

private nonisolated func deliver(_ code: Int32, _ reply: Reply?, _ data: UnsafeRawPointer?) {
    let token = czk_token_value(data)
    let error = ZooKeeperError.Code(result: code)
    CallbackRegistry.shared[HandleID.client(ofToken: token)]?.completed(token, error: error, reply: reply)
}
#endif
