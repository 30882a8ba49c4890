import Synchronization
public import ZooKeeper

/// A ZooKeeper in the memory of this process, for tests of the queue and of programs that use it.
///
/// It has ZooKeeper's semantics: versions, zxids, sequence numbers, ephemeral nodes, sessions that expire, one-shot
/// watches, atomic multis, access control lists, and error codes. The project's tests compare it with a real server. In
/// addition, a ``FaultPlan`` can make any call fail.
///
/// ```swift
/// let zookeeper = InMemoryZooKeeper()
/// let queue = try MessageQueue(store: zookeeper.connect(), path: "/queue")
/// ```
///
/// With a ``VirtualClock``, session timeouts and the waits of consumers and recoveries use that clock, which stands
/// still until the test advances it.
public final class InMemoryZooKeeper: Sendable {
    let timeline: Timeline
    /// Returns the transit time of the next packet. `nil` when packets arrive immediately.
    let latency: (@Sendable () -> Duration)?
    private let ensemble: Mutex<Ensemble>
    private let clients = Mutex<[Int64: WeakSession]>([:])
    private let observer: (@Sendable (Transaction) -> Void)?

    private struct WeakSession: Sendable {
        weak var session: InMemorySession?
    }

    /// Creates an empty ZooKeeper.
    ///
    /// - Parameter clock: The clock. `nil` means real time.
    public convenience init(clock: VirtualClock? = nil) { self.init(clock: clock, latency: nil, observer: nil) }

    /// Creates an empty ZooKeeper.
    ///
    /// - Parameters:
    ///   - clock: The clock. `nil` means real time.
    ///   - latency: Returns the transit time of a packet. Packets of one session never overtake each other.
    ///   - observer: Called with each change of the tree, in order.
    package init(
        clock: VirtualClock?, latency: (@Sendable () -> Duration)?, observer: (@Sendable (Transaction) -> Void)?
    ) {
        timeline = clock.map(Timeline.virtual) ?? .real
        self.latency = latency
        self.observer = observer
        ensemble = Mutex(Ensemble(time: timeline.milliseconds))
    }

    /// The clock of the servers, in milliseconds since 1970.
    package var milliseconds: Int64 { timeline.milliseconds }

    /// Opens a session, as one process would have it.
    ///
    /// - Parameters:
    ///   - name: The name of the session in the fault plan.
    ///   - sessionTimeout: How long the session lives without a connection.
    ///   - requestTimeout: How long a call waits for its response.
    ///   - identities: The authenticated identities of the session, for access control lists.
    ///   - faults: The faults to inject.
    public func connect(
        _ name: String = "client", sessionTimeout: Duration = .seconds(10), requestTimeout: Duration = .seconds(30),
        identities: [AuthInfo] = [], faults: FaultPlan? = nil
    ) -> InMemorySession {
        // Only a fault plan can request a stale read.
        if faults != nil { ensemble.withLock { $0.keepsHistory = true } }
        let session = InMemorySession(
            self, name: name, timeout: sessionTimeout, requestTimeout: requestTimeout, identities: identities,
            faults: faults)
        session.connect()
        return session
    }

    // MARK: Inspection

    /// All nodes by their paths.
    ///
    /// Like ZooKeeper, the tree compares paths by their bytes. This dictionary contains only one of several paths that
    /// Swift treats as equal, such as `é` and `e` with U+0301. Read such nodes through a session.
    public var nodes: [String: Node] {
        let nodes = ensemble.withLock { $0.visibleNodes }
        return Dictionary(nodes.map { ($0.key.string, $0.value) }) { first, _ in first }
    }

    /// Returns the bytes of a node and all its descendants.
    func byteUsage(of path: String) -> Int { ensemble.withLock { $0.tree.usage(of: path).bytes } }

    // MARK: Rollback

    /// The tree at one moment, for ``restore(_:)``.
    package struct Checkpoint: Sendable {
        fileprivate let tree: ZNodeTree
    }

    /// Returns the current tree: data, access control lists, versions, zxids and sequence numbers.
    package func checkpoint() -> Checkpoint { Checkpoint(tree: ensemble.withLock { $0.tree }) }

    /// Rolls the tree back, like an ensemble that loses acknowledged writes or is restored from an older backup.
    ///
    /// Sessions stay alive, with the ephemeral nodes that they had at the checkpoint. Ephemeral nodes of sessions that
    /// have ended since the checkpoint are not restored. Watches stay, and none of them fires for a change by the
    /// rollback, because the servers do not notice it. The zxid continues to grow, so clients that have seen the lost
    /// writes stay connected. A write that is still in transit is applied to the restored tree.
    ///
    /// - Parameter checkpoint: A checkpoint of this ZooKeeper.
    package func restore(_ checkpoint: Checkpoint) {
        ensemble.withLock { ensemble in
            ensemble.restore(checkpoint.tree)
            observer?(Transaction(session: 0, request: nil, nodes: ensemble.visibleNodes, isRollback: true))
        }
    }

    // MARK: The servers' limits, clock and housekeeping

    /// The maximum packet size of the servers in bytes (`jute.maxbuffer`). `nil` means that
    /// only the client's limit applies.
    ///
    /// A larger request breaks the connection each time it is sent. A write is not applied, and its
    /// outcome is unknown to its caller.
    package var maximumPacketSize: Int? {
        get { ensemble.withLock { $0.maximumPacketSize } }
        set { ensemble.withLock { $0.maximumPacketSize = newValue } }
    }

    /// Whether `exists` requires permission to read the node, as on servers from 3.9 on. Default: false.
    package var existsNeedsRead: Bool {
        get { ensemble.withLock { $0.existsNeedsRead } }
        set { ensemble.withLock { $0.existsNeedsRead = newValue } }
    }

    /// Sets a hard quota on the node and its descendants, which servers enforce with `enforceQuota`. A `create` or
    /// `set` that exceeds it fails with the code -125.
    ///
    /// The servers compare each operation of a multi with the tree before the multi. A full quota therefore refuses a
    /// create even when the same multi contains a delete.
    ///
    /// - Parameters:
    ///   - path: The node of the quota, which counts too.
    ///   - count: The maximum number of nodes. `nil` means no limit.
    ///   - bytes: The maximum bytes of data. `nil` means no limit.
    package func setHardQuota(path: String, count: Int?, bytes: Int?) {
        ensemble.withLock { $0.tree.setHardQuota(path, count: count, bytes: bytes) }
    }

    /// Removes the container nodes that have lost their last child, as the leader does once a minute. A container that
    /// becomes empty by this stays until the next call.
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

    /// Moves the leader's wall clock forward, or back by a negative duration. Only the times of later changes (`ctime`,
    /// `mtime`) jump. Sessions, waits and ``InMemorySession/now`` use the monotonic clock.
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

    func disconnected(_ session: Int64) { ensemble.withLock { $0.removeWatches(of: session) } }

    /// Applies a request. Delivers the events before it returns the response, as a server does.
    func apply(_ request: Request, of session: Int64, isStale: Bool) -> Result<Reply, ZooKeeperError> {
        let response = ensemble.withLock { ensemble in
            let response = ensemble.apply(request, of: session, time: timeline.milliseconds, isStale: isStale)
            if let observer, !request.isRead, case .success = response.result {
                observer(
                    Transaction(session: session, request: request, nodes: ensemble.visibleNodes))
            }
            return response
        }
        deliver(response.notifications)
        return response.result
    }

    private func deliver(_ notifications: [Ensemble.Notification]) {
        for notification in notifications {
            clients.withLock { $0[notification.session]?.session }?.receive(notification.event)
        }
    }
}
