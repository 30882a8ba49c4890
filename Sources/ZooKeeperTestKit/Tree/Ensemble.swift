import ZooKeeper

/// All servers as one value: the tree, the sessions, the watches, and the order of all changes.
struct Ensemble: Sendable {
    /// An event in transit to a session.
    struct Notification: Sendable {
        let session: Int64
        let event: WatchEvent
    }

    /// The result of a request, and the events that it caused.
    struct Response: Sendable {
        let result: Result<Reply, ZooKeeperError>
        let notifications: [Notification]
    }

    private struct Session {
        let identities: [AuthInfo]
        /// The last change that the session has seen. Its reads never return an older state.
        var seen: Int64
    }
    /// A watch as the server keeps it: on a node's data and existence, or on its children.
    private struct Watch: Hashable {
        let path: ExactString
        let isOnChildren: Bool

        init(_ path: String, isOnChildren: Bool) {
            self.path = ExactString(path)
            self.isOnChildren = isOnChildren
        }
    }

    var tree: ZNodeTree
    private(set) var zxid: Int64 = 0
    private var sessions: [Int64: Session] = [:]
    private var nextSession: Int64 = 0x1000
    private var watches: [Watch: Set<Int64>] = [:]
    /// Earlier trees for stale reads, oldest first.
    private var history: [(zxid: Int64, tree: ZNodeTree)] = []
    /// The number of earlier trees, which limits how stale a read can be.
    private static let historyLimit = 64

    /// The maximum packet size of a server (`jute.maxbuffer`). A larger packet breaks its connection.
    var maximumPacketSize: Int?
    /// Whether `exists` requires permission to read the node, as on servers from 3.9 on.
    var existsNeedsRead = false
    /// The milliseconds by which the leader's wall clock has jumped.
    var clockJump: Int64 = 0

    init(time: Int64) { tree = ZNodeTree(time: time) }

    // MARK: Sessions

    mutating func openSession(_ identities: [AuthInfo]) -> Int64 {
        recordHistory()
        zxid += 1
        nextSession += 1
        sessions[nextSession] = Session(identities: identities, seen: zxid)
        return nextSession
    }

    func isAlive(_ session: Int64) -> Bool { sessions[session] != nil }

    /// Ends a session, and removes its ephemeral nodes in one change.
    mutating func endSession(_ session: Int64) -> [Notification] {
        guard sessions.removeValue(forKey: session) != nil else { return [] }
        removeWatches(of: session)
        recordHistory()
        zxid += 1
        tree.removeEphemerals(zxid: zxid) { $0 == session }
        return notifications(for: tree.commit())
    }

    /// Removes the watches of a session whose connection was lost. The client sets them again after it has reconnected.
    mutating func removeWatches(of session: Int64) {
        for watch in watches.keys {
            watches[watch]?.remove(session)
            if watches[watch]?.isEmpty == true { watches[watch] = nil }
        }
    }

    /// All nodes as a client sees them.
    var visibleNodes: [ExactString: Node] { tree.nodes.mapValues { Node(data: $0.data, stat: $0.stat) } }

    // MARK: Requests

    mutating func apply(_ request: Request, of session: Int64, time: Int64, isStale: Bool = false) -> Response {
        guard let seen = sessions[session]?.seen else {
            return Response(result: .failure(error(.sessionExpired, request)), notifications: [])
        }
        // A sync waits until its server has caught up.
        if case .sync = request {
            sessions[session]?.seen = zxid
            return Response(result: .success(.done), notifications: [])
        }
        let response = request.isRead ? read(request, session, isStale ? seen : nil) : write(request, session, time)
        if !(request.isRead && isStale) { sessions[session]?.seen = zxid }
        return response
    }

    private mutating func write(_ request: Request, _ session: Int64, _ time: Int64) -> Response {
        recordHistory()
        // A refused write has its place in the order too.
        zxid += 1
        let author = ZNodeTree.Author(
            session: session, identities: sessions[session]?.identities ?? [], zxid: zxid, time: time + clockJump)
        var index: Int?
        do throws(ZNodeTree.OperationError) {
            let reply: Reply
            switch request {
            case .create(let path, let data, let mode, let acl):
                reply = .created(try tree.create(path, data, mode, acl, author))
            case .delete(let path, let version):
                try tree.delete(path, version, author)
                reply = .done
            case .set(let path, let data, let version): reply = .stat(try tree.set(path, data, version, author))
            case .setACL(let path, let acl, let version):
                reply = .stat(try tree.setACL(path, acl, version, author))
            case .multi(let operations):
                var results: [OperationResult] = []
                for (number, operation) in operations.enumerated() {
                    index = number
                    results.append(try tree.apply(operation, by: author))
                }
                reply = .multi(results)
            case .reconfigure: throw ZNodeTree.OperationError(.reconfigDisabled)
            case .exists, .get, .children, .getACL, .sync, .multiRead, .addWatch, .whoAmI: reply = .done
            }
            return Response(result: .success(reply), notifications: notifications(for: tree.commit()))
        } catch {
            tree.rollBack()
            return Response(result: .failure(self.error(error.code, request, operation: index)), notifications: [])
        }
    }

    private mutating func read(_ request: Request, _ session: Int64, _ oldest: Int64?) -> Response {
        let tree = oldest.flatMap(state) ?? self.tree
        let identities = sessions[session]?.identities ?? []
        var missed: [Notification] = []
        do throws(ZNodeTree.OperationError) {
            let reply: Reply
            switch request {
            case .exists(let path, let isWatching):
                if existsNeedsRead, let node = tree[path], !node.allows(.read, to: identities) {
                    throw ZNodeTree.OperationError(.noAuth)
                }
                if isWatching { missed = watch(path, onChildren: false, session, as: tree) }
                guard let node = tree[path] else { throw ZNodeTree.OperationError(.noNode) }
                reply = .stat(node.stat)
            case .get(let path, let isWatching):
                let node = try tree.node(path, as: .read, for: identities)
                if isWatching { missed = watch(path, onChildren: false, session, as: tree) }
                reply = .node(Node(data: node.data, stat: node.stat))
            case .children(let path, let isWatching):
                let node = try tree.node(path, as: .read, for: identities)
                if isWatching { missed = watch(path, onChildren: true, session, as: tree) }
                reply = .children(NodeChildren(names: node.children.sorted().map(\.string), stat: node.stat))
            case .getACL(let path):
                let node = try tree.node(path, as: [.read, .admin], for: identities)
                let entries = node.allows(.admin, to: identities) ? node.acl : node.acl.map(\.withoutPassword)
                reply = .acl(NodeACL(entries: entries, stat: node.stat))
            case .multiRead(let paths):
                reply = .nodes(
                    paths.map { path in
                        do throws(ZNodeTree.OperationError) {
                            let node = try tree.node(path, as: .read, for: identities)
                            return .node(Node(data: node.data, stat: node.stat))
                        } catch {
                            return .failed(error.code)
                        }
                    })
            // A store has neither.
            case .addWatch, .whoAmI: throw ZNodeTree.OperationError(.unimplemented)
            case .sync, .create, .delete, .set, .setACL, .reconfigure, .multi: reply = .done
            }
            return Response(result: .success(reply), notifications: missed)
        } catch {
            return Response(result: .failure(self.error(error.code, request)), notifications: missed)
        }
    }

    private func error(_ code: ZooKeeperError.Code, _ request: Request, operation index: Int? = nil) -> ZooKeeperError {
        var path = request.path
        if case .multi(let operations) = request, let index { path = operations[index].path }
        // A refusal is definite, as for a request that was not sent.
        return ZooKeeperError(code: code, path: path, operationIndex: index, sent: false)
    }

    // MARK: Watches

    /// Sets a watch from a state that may be stale. When the node has changed since then, returns the event that the
    /// server sends as soon as it has caught up.
    private mutating func watch(
        _ path: String, onChildren: Bool, _ session: Int64, as tree: ZNodeTree
    ) -> [Notification] {
        let (then, now) = (tree[path], self.tree[path])
        let hasChanged =
            then?.czxid != now?.czxid || (onChildren ? then?.pzxid != now?.pzxid : then?.mzxid != now?.mzxid)
        guard hasChanged else {
            watches[Watch(path, isOnChildren: onChildren), default: []].insert(session)
            return []
        }
        let kind: WatchEvent.Kind =
            now == nil ? .deleted : then == nil ? .created : onChildren ? .childrenChanged : .dataChanged
        return [Notification(session: session, event: WatchEvent(kind: kind, path: path))]
    }

    /// Returns the notifications for events, and removes the watches that have fired. The server also removes the watch
    /// of a session that may not read the node, without a notification (CVE-2024-23944).
    private mutating func notifications(for events: [ZNodeTree.Event]) -> [Notification] {
        events.flatMap { change -> [Notification] in
            let event = change.event
            var sessions: Set<Int64> = []
            if event.kind != .childrenChanged {
                sessions.formUnion(watches.removeValue(forKey: Watch(event.path, isOnChildren: false)) ?? [])
            }
            if event.kind == .childrenChanged || event.kind == .deleted {
                sessions.formUnion(watches.removeValue(forKey: Watch(event.path, isOnChildren: true)) ?? [])
            }
            return sessions.sorted().filter { change.isVisible(to: self.sessions[$0]?.identities ?? []) }
                .map { Notification(session: $0, event: event) }
        }
    }

    // MARK: Containers

    /// Removes a container that has lost its last child.
    mutating func removeContainer(_ path: String) -> [Notification] {
        recordHistory()
        zxid += 1
        tree.removeContainer(path, zxid: zxid)
        return notifications(for: tree.commit())
    }

    // MARK: Rollback

    /// Replaces the current tree by an earlier one. The servers do not notice: no watch
    /// fires, and the zxid continues to grow.
    mutating func restore(_ earlier: ZNodeTree) {
        zxid += 1
        tree = earlier
        tree.removeEphemerals(zxid: zxid) { sessions[$0] == nil }
        _ = tree.commit()
        // No server has the lost changes any more, so no read returns them.
        history = []
    }

    // MARK: Earlier trees

    /// Whether earlier trees are kept, which costs a copy of the tree for each change.
    var keepsHistory = false

    private mutating func recordHistory() {
        guard keepsHistory else { return }
        history.append((zxid, tree))
        if history.count > Self.historyLimit { history.removeFirst() }
    }

    /// Returns the tree after the change with the zxid, or the oldest tree that is kept.
    private func state(at zxid: Int64) -> ZNodeTree? { history.first { $0.zxid >= zxid }?.tree }
}

extension ACL {
    /// The entry as a server shows it to a session that may not change the list (`FinalRequestProcessor`).
    fileprivate var withoutPassword: ACL {
        scheme == "digest" ? ACL(permissions, scheme: scheme, id: id.prefix { $0 != ":" } + ":x") : self
    }
}
