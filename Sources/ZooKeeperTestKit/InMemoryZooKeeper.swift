import Synchronization
public import ZooKeeper

/// A ZooKeeper in this process's memory, for tests: of the queue, and of programs that use it.
///
/// It keeps ZooKeeper's semantics: versions, zxids, sequence numbers, ephemeral nodes, sessions that expire, one-shot
/// watches, atomic multis, access control lists, and the codes of errors; it is compared with a real server by the
/// project's tests. On top of that any call can be made to fail, by a ``FaultPlan``.
///
/// ```swift
/// let zookeeper = InMemoryZooKeeper()
/// let queue = try MessageQueue(store: zookeeper.connect(), path: "/queue")
/// ```
///
/// With a ``VirtualClock``, sessions time out, consumers wait and recoveries rest by that clock, which stands still
/// until the test advances it.
public final class InMemoryZooKeeper: Sendable {
    let timeline: Timeline
    /// How long a packet is on its way, asked for each; `nil` when it is there at once.
    let latency: (@Sendable () -> Duration)?
    private let ensemble: Mutex<Ensemble>
    private let clients = Mutex<[Int64: WeakSession]>([:])
    private let observer: (@Sendable (Transaction) -> Void)?

    private struct WeakSession: Sendable {
        weak var session: InMemorySession?
    }

    /// Creates an empty ZooKeeper.
    ///
    /// - Parameter clock: the time; `nil` is real time.
    public convenience init(clock: VirtualClock? = nil) { self.init(clock: clock, latency: nil, observer: nil) }

    /// - Parameters:
    ///   - clock: the time; `nil` is real time.
    ///   - latency: how long each packet is on its way. Packets of one session never overtake each other.
    ///   - observer: is called with each change of the tree, in their order.
    package init(
        clock: VirtualClock?, latency: (@Sendable () -> Duration)?, observer: (@Sendable (Transaction) -> Void)?
    ) {
        timeline = clock.map(Timeline.virtual) ?? .real
        self.latency = latency
        self.observer = observer
        ensemble = Mutex(Ensemble(time: timeline.milliseconds))
    }

    /// A client's session with this ZooKeeper; what one process would have.
    ///
    /// - Parameters:
    ///   - name: names the session for the plan of faults.
    ///   - sessionTimeout: how long the session lives without a connection.
    ///   - callDeadline: how long a call waits for its answer.
    ///   - identities: whom the session has proved to be, for access control lists.
    ///   - faults: what goes wrong.
    public func connect(
        _ name: String = "client", sessionTimeout: Duration = .seconds(10), callDeadline: Duration = .seconds(30),
        identities: [Identity] = [], faults: FaultPlan? = nil
    ) -> InMemorySession {
        // Only a plan of faults can ask for a read that is behind.
        if faults != nil { ensemble.withLock { $0.remembersPast = true } }
        let session = InMemorySession(
            self, name: name, timeout: sessionTimeout, callDeadline: callDeadline, identities: identities,
            faults: faults)
        session.connect()
        return session
    }

    // MARK: Looking

    /// All nodes by their paths.
    ///
    /// Paths are compared by their bytes in the tree, as ZooKeeper does. Of several that Swift takes for equal (`é`, and `e`
    /// with U+0301) this has one: read such nodes through a session.
    public var nodes: [String: Node] {
        let nodes = ensemble.withLock { $0.visibleNodes }
        return Dictionary(nodes.map { ($0.key.string, $0.value) }) { first, _ in first }
    }

    /// Counts the bytes of a node and of all below it.
    func bytes(below path: String) -> Int { ensemble.withLock { $0.tree.usage(of: path).bytes } }

    // MARK: Rollback

    /// The tree at one moment, for ``restore(_:)``.
    package struct Checkpoint: Sendable {
        fileprivate let tree: ZNodeTree
    }

    /// Returns the present tree: data, access control lists, versions, zxids and sequence numbers.
    package func checkpoint() -> Checkpoint { Checkpoint(tree: ensemble.withLock { $0.tree }) }

    /// Rolls the tree back, as an ensemble does that loses acknowledged writes or is restored from an older backup.
    ///
    /// Sessions stay alive, with the ephemeral nodes that they had at the checkpoint; those of sessions that have ended
    /// since are not restored. Watches stay, and none fires for what the rollback changes, because the servers do not
    /// notice it. The zxid goes on growing, so that clients that have seen the lost writes stay connected. A write that
    /// is still on its way is applied to the restored tree.
    ///
    /// - Parameter checkpoint: a checkpoint of this ZooKeeper.
    package func restore(_ checkpoint: Checkpoint) {
        ensemble.withLock { ensemble in
            ensemble.restore(checkpoint.tree)
            observer?(Transaction(session: 0, request: nil, nodes: ensemble.visibleNodes, isRollback: true))
        }
    }

    // MARK: The servers' limits, clock and housekeeping

    /// The largest packet that the servers take, in bytes (`jute.maxbuffer`); `nil` is no limit but the client's own. A larger
    /// request breaks the connection each time it is sent: a write is not applied, with an unknown outcome to its caller.
    package var maximumPacketSize: Int? {
        get { ensemble.withLock { $0.maximumPacketSize } }
        set { ensemble.withLock { $0.maximumPacketSize = newValue } }
    }

    /// Whether `exists` needs the right to read the node, as on servers from 3.9 on. By default it does not.
    package var existsNeedsRead: Bool {
        get { ensemble.withLock { $0.existsNeedsRead } }
        set { ensemble.withLock { $0.existsNeedsRead = newValue } }
    }

    /// Sets a hard quota on the nodes at and below the path, as servers with `enforceQuota` keep it: `create` and `set` beyond
    /// it are refused (code −125). The operations of a transaction are each compared with the tree before it, so that a
    /// full quota refuses a create also next to a delete in the same transaction.
    ///
    /// - Parameters:
    ///   - path: the quota's node, which counts too.
    ///   - count: the most nodes; `nil` is no limit.
    ///   - bytes: the most bytes of data; `nil` is no limit.
    package func setHardQuota(path: String, count: Int?, bytes: Int?) {
        ensemble.withLock { $0.tree.setHardQuota(path, count: count, bytes: bytes) }
    }

    /// Removes the container nodes that have lost their last child, as the leader does once a minute. A container that
    /// becomes empty by this stays until the next time.
    package func removeEmptyContainers() {
        let notifications = ensemble.withLock { ensemble in
            ensemble.tree.emptyContainers.flatMap { path in
                let notifications = ensemble.removeContainer(path)
                observer?(Transaction(session: 0, request: nil, nodes: ensemble.visibleNodes))
                return notifications
            }
        }
        deliver(notifications)
    }

    /// Sets the leader's wall clock forward, or back by a negative duration: the times of later changes (`ctime`, `mtime`)
    /// jump, and nothing else does. Sessions, waits and ``InMemorySession/now`` go by the monotonic clock.
    package func jumpServerClock(by duration: Duration) {
        ensemble.withLock { $0.clockJump += Int64(duration / .milliseconds(1)) }
    }

    // MARK: For sessions

    func openSession(for client: InMemorySession) -> Int64 {
        let id = ensemble.withLock { $0.openSession(client.identities) }
        clients.withLock { $0[id] = WeakSession(session: client) }
        return id
    }

    func isAlive(_ session: Int64) -> Bool { ensemble.withLock { $0.isAlive(session) } }

    func endSession(_ session: Int64) {
        let notifications = ensemble.withLock { ensemble in
            let notifications = ensemble.endSession(session)
            observer?(Transaction(session: session, request: nil, nodes: ensemble.visibleNodes))
            return notifications
        }
        clients.withLock { $0[session] = nil }
        deliver(notifications)
    }

    func disconnected(_ session: Int64) { ensemble.withLock { $0.forgetWatches(of: session) } }

    /// Applies a request; events go out before its answer, as a server sends them.
    func apply(_ request: Request, of session: Int64, isStale: Bool) -> Result<Reply, ZooKeeperError> {
        let answer = ensemble.withLock { ensemble in
            let answer = ensemble.apply(request, of: session, time: timeline.milliseconds, isStale: isStale)
            if let observer, !request.isRead, case .success = answer.result {
                observer(
                    Transaction(session: session, request: request, nodes: ensemble.visibleNodes))
            }
            return answer
        }
        deliver(answer.notifications)
        return answer.result
    }

    private func deliver(_ notifications: [Ensemble.Notification]) {
        for notification in notifications {
            clients.withLock { $0[notification.session]?.session }?.receive(notification.event)
        }
    }
}
