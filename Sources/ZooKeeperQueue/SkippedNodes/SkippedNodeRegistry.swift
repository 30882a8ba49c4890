import CoreMetrics
import Logging
import Synchronization
import ZooKeeper

/// The nodes of one queue that this process skips. All copies of a ``MessageQueue`` share one registry, so that each
/// node is reported and counted once.
final class SkippedNodeRegistry: Sendable {
    private let nodes = Mutex(SkippedNodes())
    private let store: any ZooKeeperStore
    private let logger: Logger
    private let gauge: Gauge

    /// The most nodes of a folder that are reported one by one. Beyond that, only each doubling
    /// of their number is reported.
    private static let maximumReports = 16

    init(queue: String, store: any ZooKeeperStore, logger: Logger, metricsFactory: any MetricsFactory) {
        self.store = store
        self.logger = logger
        gauge = Gauge(
            label: "zookeeper_queue_skipped_nodes", dimensions: [("queue", queue)], factory: metricsFactory)
    }

    var count: Int { nodes.withLock { $0.count } }
    var all: [SkippedNode] { nodes.withLock { $0.all } }

    /// Whether to skip the node for now.
    func contains(_ path: String) -> Bool {
        let (folder, name) = Self.split(path)
        return nodes.withLock { $0.isSkipped(name, in: folder, at: store.now) }
    }

    /// Returns the names of a folder's children without those to skip for now. Forgets skipped nodes that are no
    /// longer among the children.
    func usable(_ names: [String], in folder: String) -> [String] {
        let now = store.now
        return update { nodes in
            guard nodes.count(in: folder) > 0 else { return names }
            nodes.keep(names, in: folder)
            return names.filter { !nodes.isSkipped($0, in: folder, at: now) }
        }
    }

    /// Skips a node for a while, and reports it once.
    func skip(_ path: String, _ reason: SkippedNode.Reason) {
        let (folder, name) = Self.split(path)
        let now = store.now
        let (isNew, count) = update { ($0.skip(name, in: folder, reason, at: now), $0.count(in: folder)) }
        guard isNew else { return }
        if count <= Self.maximumReports {
            logger.warning(
                "Skipped a node that cannot be handled; trying again later",
                metadata: ["node": "\(path)", "reason": "\(reason)", "remedy": "\(reason.remedy)"])
        } else if count & (count - 1) == 0 {
            logger.warning(
                "Skipped many nodes of a folder",
                metadata: ["folder": "\(folder)", "count": "\(count)", "reason": "\(reason)"])
        }
    }

    /// Skips a node after ZooKeeper has refused an operation on it.
    func skip(_ path: String, _ error: ZooKeeperError) { skip(path, SkippedNode.Reason(error)) }

    /// Records that a node was handled.
    func handled(_ path: String) {
        let (folder, name) = Self.split(path)
        guard update({ $0.handled(name, in: folder) }) else { return }
        logger.notice("Handled a node that was skipped before", metadata: ["node": "\(path)"])
    }

    /// Runs `body` to handle a node, and skips the node when ZooKeeper refuses an operation on it.
    func handle(_ path: String, _ body: () async throws -> Void) async throws {
        try Task.checkCancellation()
        do {
            try await body()
            handled(path)
        } catch let error as ZooKeeperError where error.isRefusal {
            skip(path, error)
        }
    }

    /// Forgets skipped nodes that are no longer in a folder.
    func keep(_ names: [String], in folder: String) { update { $0.keep(names, in: folder) } }

    /// Forgets skipped nodes below children of `parent` that are gone.
    func keepFolders(of names: [String], below parent: String) { update { $0.keepFolders(of: names, below: parent) } }

    /// Forgets the skipped nodes of a folder, because its names mean other nodes from now on.
    func forget(_ folder: String) { update { $0.keep([], in: folder) } }

    /// Returns the earliest time at which a node of the folders may be tried again.
    func nextRetry(in folders: [String]) -> Duration? {
        nodes.withLock { nodes in folders.compactMap { nodes.nextRetry(in: $0) }.min() }
    }

    private func update<Result>(_ body: (inout SkippedNodes) -> sending Result) -> sending Result {
        let (result, change) = nodes.withLock { nodes in
            let before = nodes.count
            let result = body(&nodes)
            return (result, nodes.count == before ? nil : nodes.count)
        }
        if let change { gauge.record(change) }
        return result
    }

    private static func split(_ path: String) -> (folder: String, name: String) {
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) ?? path.startIndex
        return (String(path[..<slash]), String(path[path.utf8.index(after: slash)...]))
    }
}

extension SkippedNode.Reason {
    /// Derives the reason from ZooKeeper's refusal.
    init(_ error: ZooKeeperError) {
        switch error.code {
        case .noAuth: self = .permissionDenied
        case .notEmpty: self = .hasChildren
        case .requestTooLarge: self = .tooLarge
        default: self = .refused(error.message)
        }
    }
}

extension ZooKeeperError {
    /// Whether ZooKeeper or the client refuses this particular operation, so that an immediate retry is pointless.
    var isRefusal: Bool {
        guard outcome == .notApplied, !isRetryable else { return false }
        switch code {
        case .closed, .closing, .authenticationFailed, .alreadyRunning: return false
        default: return true
        }
    }

    /// Whether the refusal concerns this node alone and says nothing about its siblings.
    var concernsOneNode: Bool {
        switch code {
        case .notEmpty, .requestTooLarge, .badArguments, .invalidArgument, .noChildrenForEphemerals: isRefusal
        default: false
        }
    }
}
