import GatewayProtocol
import HTTPTypes
import ServiceLifecycle
import ZooKeeper

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The resource `/extensions/v1`: transactions, watches, and whatever else the queue's full guarantee needs and
/// ZooKeeper's REST interface lacks. A GET returns the names of the extensions. A POST runs one call, which is JSON.
struct ExtensionResource {
    let endpoint: Endpoint
    let request: GatewayRequest

    /// When a response holds this many bytes of data, no further node is added.
    private static let maximumReplySize = 4 << 20
    private static let readBatchSize = 16

    func respond() async throws -> GatewayResponse {
        try request.allowQuery(["wait"])
        switch request.method {
        case .get:
            return try json(.ok, Capabilities(maximumBodySize: endpoint.maximumBodySize))
        case .post:
            let call: ExtensionRequest
            do {
                call = try JSONDecoder().decode(ExtensionRequest.self, from: Data(request.body))
            } catch {
                return GatewayResponse(.badRequest)
            }
            do {
                return try json(.ok, try await reply(to: call))
            } catch let error as ZooKeeperError {
                let isConnected = endpoint.client.sessionState.phase == .connected
                let mapping = ErrorMapping(error, path: error.path ?? "", isConnected: isConnected)
                let status: HTTPResponse.Status = error.code == .unknownSession ? .unauthorized : mapping.status
                return try json(status, ExtensionReply.failed(error: WireError(error)))
            }
        default: return .methodNotAllowed("GET, POST")
        }
    }

    private func json(_ status: HTTPResponse.Status, _ value: some Encodable) throws -> GatewayResponse {
        GatewayResponse(status, .json, bytes: [UInt8](try JSONEncoder().encode(value)))
    }

    private func reply(to request: ExtensionRequest) async throws -> ExtensionReply {
        guard let client = await endpoint.sessions.client(of: request.session) else {
            throw RESTSessions.unknownSession
        }
        let timeout = endpoint.timeout(for: client)
        let size = request.call.dataSize
        guard size <= endpoint.maximumBodySize else {
            throw ZooKeeperError(
                code: .requestTooLarge,
                message: "The request has \(size) bytes of data, but the gateway's limit is "
                    + "\(endpoint.maximumBodySize). Send less at a time.", path: nil, outcome: .notApplied)
        }
        guard request.call.isWrite else { return try await read(request, client, timeout) }
        guard let number = request.number else {
            throw Self.invalidArgument(
                "The request has no field \"number\". Number the writes of a session in ascending order.")
        }
        let write = try await endpoint.sessions.begin(request.session, number: number) { client in
            try await Self.write(request.call, client, timeout)
        }
        return try await write.value
    }

    // MARK: Reads

    private func read(
        _ request: ExtensionRequest, _ client: ZooKeeperClient, _ timeout: Duration
    ) async throws -> ExtensionReply {
        switch request.call {
        case .heartbeat:
            guard await endpoint.sessions.touch(request.session) else { throw RESTSessions.unknownSession }
            // Asks the ensemble, because the gateway's own session may have been lost.
            _ = try await client.exists("/", timeout: timeout)
            let state = client.sessionState
            return .session(owner: state.sessionID, timeout: Int(state.timeout / .milliseconds(1)))
        case .get(let paths):
            var nodes: [WireNode?] = []
            var size = 0
            guard paths.count <= ExtensionCall.maximumPaths else {
                throw Self.invalidArgument(
                    "The call requests too many nodes. Request at most \(ExtensionCall.maximumPaths) at a time.")
            }
            // Reads only a few nodes at a time, so that a response does not exceed the limit by much.
            for start in stride(from: 0, to: paths.count, by: Self.readBatchSize) where size < Self.maximumReplySize {
                let batch = Array(paths[start..<min(start + Self.readBatchSize, paths.count)])
                for node in try await client.get(batch, timeout: timeout)
                where nodes.isEmpty || size < Self.maximumReplySize {
                    size += (node?.data?.count ?? 0) + 100
                    nodes.append(node.map(WireNode.init))
                }
            }
            return .nodes(list: nodes)
        case .exists(let path): return .stat(stat: try await client.exists(path, timeout: timeout).map(WireStat.init))
        case .children(let path):
            return .children(children: WireChildren(try await client.children(of: path, timeout: timeout)))
        case .acl(let path):
            return .acl(entries: try await client.acl(of: path, timeout: timeout).entries.map(WireACL.init))
        case .bytes(let path): return .bytes(count: try await client.byteUsage(of: path))
        case .awaitNode(let path, let revision, let seconds):
            let node = try await firstState(in: client.dataUpdates(of: path), within: seconds) {
                $0.map { .init(created: $0.stat.czxid, changed: $0.stat.mzxid) } != revision
            }
            return .nodes(list: [node.map(WireNode.init)])
        case .awaitChildren(let path, let revision, let seconds):
            let children = try await firstState(in: client.childrenUpdates(of: path), within: seconds) {
                $0.map { .init(created: $0.stat.czxid, changed: $0.stat.pzxid) } != revision
            }
            return .children(children: children.map(WireChildren.init))
        case .countBytes, .sync, .create, .set, .delete, .multi: throw Self.invalidArgument("The call is a write.")
        }
    }

    /// Returns the first wanted state. Returns the latest state when the time is over or the gateway shuts down.
    private func firstState<Element: Sendable>(
        in states: WatchSequence<Element?>, within seconds: Int,
        _ isWanted: @escaping @Sendable (Element?) -> Bool
    ) async throws -> Element? {
        let latest = LatestValue<Element>()
        let limit = Duration.seconds(min(max(seconds, 0), ExtensionCall.maximumWait))
        return try await cancelWhenGracefulShutdown {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for try await state in states {
                        latest.update(state)
                        if isWanted(state) { return }
                    }
                }
                group.addTask {
                    // A timer is needed, because no event says that nothing changes.
                    try? await Task.sleep(for: limit)
                }
                defer { group.cancelAll() }
                try await group.next()
            }
            return try latest.value
        }
    }

    // MARK: Writes

    private static func write(
        _ call: ExtensionCall, _ client: ZooKeeperClient, _ timeout: Duration
    ) async throws -> ExtensionReply {
        switch call {
        case .sync(let path): try await client.sync(path, timeout: timeout)
        case .countBytes(let path): try await client.trackUsage(of: path)
        case .delete(let path, let version): try await client.delete(path, version: version, timeout: timeout)
        case .create(let path, let data, let mode):
            let created = try await client.create(
                path, data: data.map { [UInt8]($0) }, mode: mode.mode, timeout: timeout)
            return .created(path: created.path, stat: WireStat(created.stat))
        case .set(let path, let data, let version):
            let stat = try await client.set(path, data: data.map { [UInt8]($0) }, version: version, timeout: timeout)
            return .stat(stat: WireStat(stat))
        case .multi(let operations):
            return .results(
                list: try await client.multi(operations.map(\.operation), timeout: timeout).map(WireResult.init))
        default: throw invalidArgument("The call is a read.")
        }
        return .done
    }

    private static func invalidArgument(_ message: String) -> ZooKeeperError {
        ZooKeeperError(code: .invalidArgument, message: message, path: nil, outcome: .notApplied)
    }
}

extension ExtensionCall {
    /// How many bytes of data the call carries.
    fileprivate var dataSize: Int {
        switch self {
        case .create(_, let data, _), .set(_, let data, _): data?.count ?? 0
        case .multi(let operations): operations.reduce(0) { $0 + $1.dataSize }
        default: 0
        }
    }
}

extension WireOperation {
    fileprivate var dataSize: Int {
        switch self {
        case .create(_, let data, _, _), .set(_, let data, _): data?.count ?? 0
        case .delete, .check: 0
        }
    }
}
