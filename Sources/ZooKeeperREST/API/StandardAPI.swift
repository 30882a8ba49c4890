import GatewayProtocol
import ZooKeeper

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The calls to a gateway with ZooKeeper's REST interface alone: each operation is a separate request.
struct StandardAPI: GatewayAPI, SingleOperations {
    let executor: RequestExecutor
    let pollInterval: Duration
    private let sagas = SagaRunner()

    init(executor: RequestExecutor, pollInterval: Duration) {
        self.executor = executor
        self.pollInterval = pollInterval
    }

    // MARK: Single operations

    /// The ID of the session to which the operations of a transaction belong.
    private var owner: Int64?

    var sessionID: Int64 { owner ?? 0 }

    private func request<Value>(
        _ method: RESTTransport.Request.Method, _ path: String, query: [(String, String)] = [], body: [UInt8]? = nil,
        _ value: (RESTTransport.Response) -> Value?
    ) async throws -> Value {
        try await executor.perform(isWrite: method != .get, owner: owner) { link in
            let parameters = (query + [("session", link.id)]).map { "\($0)=\(URLText.encoded(path: $1))" }
            let url = "\(link.gateway)/znodes/v1\(URLText.encoded(path: path))?\(parameters.joined(separator: "&"))"
            return .init(method: method, url: url, body: body)
        } _: { response in
            if (200..<300).contains(response.status) {
                return value(response).map { .value($0) } ?? .unreadable
            }
            return try Self.interpret(response, method, path)
        }
    }

    private static func interpret<Value>(
        _ response: RESTTransport.Response, _ method: RESTTransport.Request.Method, _ path: String
    ) throws -> RequestExecutor.Interpretation<Value> {
        let refused = { (code: ZooKeeperError.Code) in
            ZooKeeperError.refused(
                code, path, "\(ZooKeeperError.message(for: code)) The gateway responded with \(response.quoted).")
        }
        if response.isUnknownSession { return .sessionEnded }
        if response.isPermissionDenied { throw refused(.noAuth) }
        // A response about a node decides what happens to messages, so a proxy's page must not count as one.
        if [404, 409, 412].contains(response.status), response.message == nil { return .unreadable }
        switch response.status {
        case 425, 429: return .retry(.overloadedGateway(path))
        case _ where response.isTransient: return .unknown(reason: "The gateway responded with \(response.quoted).")
        case 404: throw refused(.noNode)
        case 409: throw refused(method == .delete ? .notEmpty : .nodeExists)
        case 412: throw refused(.badVersion)
        case 413: throw ZooKeeperError.requestTooLargeForGateway(path)
        case 400..<500: throw refused(.badArguments)
        default: return .unreadable
        }
    }

    func createNode(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> String {
        let (parent, name) = Self.split(path)
        var query = [("op", "create"), ("name", name)]
        if mode.isSequential { query.append(("sequence", "true")) }
        if mode.isEphemeral { query.append(("ephemeral", "true")) }
        if data == nil { query.append(("null", "true")) }
        return try await request(.post, parent, query: query, body: data ?? []) {
            $0.decoded(as: PathResponse.self)?.path
        }
    }

    private static func split(_ path: String) -> (parent: String, name: String) {
        let parent = Saga.parent(path)
        return (parent.isEmpty ? "/" : parent, NodePath.name(of: path))
    }

    func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode {
        guard WireMode(mode) != nil else {
            throw ZooKeeperError.unsupportedMode(path)
        }
        let created = try await createNode(path, data: data, mode: mode)
        // The response has no metadata. A consumer may have claimed the node already.
        do {
            return CreatedNode(path: created, stat: try await exists(created) ?? Stat())
        } catch let error as ZooKeeperError {
            throw ZooKeeperError(
                code: error.code, message: "The node was created, but its metadata could not be read. \(error.message)",
                path: created, outcome: .unknown)
        }
    }

    func delete(_ path: String, version: Int32?) async throws {
        try await request(.delete, path, query: version.map { [("version", "\($0)")] } ?? []) { _ in () }
    }

    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
        var query = version.map { [("version", "\($0)")] } ?? []
        if data == nil { query.append(("null", "true")) }
        return try await request(.put, path, query: query, body: data ?? []) { $0.decoded(as: NodeResponse.self)?.stat }
    }

    func get(_ paths: [String]) async throws -> [Node?] {
        try await withThrowingTaskGroup(of: (Int, Node?).self) { group in
            var nodes = [Node?](repeating: nil, count: paths.count)
            // Each read uses a separate connection.
            let maximumConnections = 32
            for (index, path) in paths.enumerated() {
                if index >= maximumConnections, let (index, node) = try await group.next() { nodes[index] = node }
                group.addTask { (index, try await get(path)) }
            }
            return try await group.reduce(into: nodes) { $0[$1.0] = $1.1 }
        }
    }

    private func get(_ path: String) async throws -> Node? {
        do {
            return try await request(.get, path) { $0.decoded(as: NodeResponse.self)?.node }
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }

    func exists(_ path: String) async throws -> Stat? { try await get(path)?.stat }

    func children(of path: String) async throws -> NodeChildren {
        // The names may be newer than the metadata, but not older. A change in between is seen at the next read.
        guard let stat = try await exists(path) else { throw ZooKeeperError.noNode(path) }
        let names = try await request(.get, path, query: [("view", "children")]) {
            $0.decoded(as: ChildrenResponse.self)?.names
        }
        return NodeChildren(names: names, stat: stat)
    }

    // MARK: Not in the interface

    func acl(of path: String) async throws -> [ACL]? { nil }

    func trackUsage(of path: String) async throws {
        throw ZooKeeperError.refused(
            .unimplemented, path, "The gateway cannot count bytes. Set a capacity in messages instead.")
    }

    func byteUsage(of path: String) async throws -> Int? { nil }

    /// Sends a write that changes nothing. Its response arrives after every earlier write of the session was applied.
    func sync(_ path: String) async throws {
        let nothing = (path == "/" ? "" : path) + "/nothing-\(UUID().uuidString)"
        do {
            try await delete(nothing, version: nil)
        } catch let error as ZooKeeperError where error.code == .noNode {}
    }

    func multi(_ operations: [ZooKeeper.ZooKeeperOperation]) async throws -> [OperationResult] {
        let deadline = ContinuousClock.now + executor.requestTimeout
        var inSession = self
        inSession.owner = try await executor.session.link(until: deadline).owner
        return try await sagas.perform(operations, on: inSession, until: deadline)
    }

    func node(_ path: String, after revision: ExtensionCall.Revision?) async throws -> Node? {
        // Without watches there is no event to wait for.
        try await Task.sleep(for: pollInterval)
        return try await get(path)
    }

    func children(of path: String, after revision: ExtensionCall.Revision?) async throws -> NodeChildren? {
        // Without watches there is no event to wait for.
        try await Task.sleep(for: pollInterval)
        do {
            return try await children(of: path)
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }
}
