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
    private static let largestAnswer = 4 << 20
    private static let readAtOnce = 16

    func answer() async throws -> GatewayResponse {
        try request.allowQuery(["wait"])
        switch request.method {
        case .get:
            return try json(.ok, Capabilities(maximumBodySize: endpoint.maximumBodySize))
        case .post:
            let asked: ExtensionRequest
            do {
                asked = try JSONDecoder().decode(ExtensionRequest.self, from: Data(request.body))
            } catch {
                return GatewayResponse(.badRequest)
            }
            do {
                return try json(.ok, try await reply(to: asked))
            } catch let error as ZooKeeperError {
                let isConnected = endpoint.client.sessionState.phase == .connected
                let refusal = ErrorMapping(error, path: error.path ?? "", isConnected: isConnected)
                let status: HTTPResponse.Status = error.code == .unknownSession ? .unauthorized : refusal.status
                return try json(status, ExtensionReply.failed(error: WireError(error)))
            }
        default: return .methodNotAllowed("GET, POST")
        }
    }

    private func json(_ status: HTTPResponse.Status, _ value: some Encodable) throws -> GatewayResponse {
        GatewayResponse(status, .json, bytes: [UInt8](try JSONEncoder().encode(value)))
    }

    private func reply(to asked: ExtensionRequest) async throws -> ExtensionReply {
        guard let client = await endpoint.sessions.client(of: asked.session) else { throw Self.noSession }
        let patience = endpoint.patience(client)
        let size = asked.call.dataSize
        guard size <= endpoint.maximumBodySize else {
            throw ZooKeeperError(
                code: .requestTooLarge,
                message: "The data is \(size) bytes long and the gateway's limit is \(endpoint.maximumBodySize): "
                    + "send less at once.", path: nil, outcome: .notApplied)
        }
        guard asked.call.isWrite else { return try await read(asked, client, patience) }
        guard let number = asked.number else {
            throw Self.refused("A write has a number.")
        }
        let writing = try await endpoint.sessions.begin(asked.session, number: number) { client in
            try await Self.write(asked.call, client, patience)
        }
        return try await writing.value
    }

    // MARK: Reads

    private func read(
        _ asked: ExtensionRequest, _ client: ZooKeeperClient, _ patience: Duration
    ) async throws -> ExtensionReply {
        switch asked.call {
        case .heartbeat:
            guard await endpoint.sessions.touch(asked.session) else { throw Self.noSession }
            // Asks the ensemble, because the gateway's own session may have been lost.
            _ = try await client.exists("/", timeout: patience)
            let state = client.sessionState
            return .session(owner: state.sessionID, timeout: Int(state.timeout / .milliseconds(1)))
        case .get(let paths):
            var nodes: [WireNode?] = []
            var size = 0
            guard paths.count <= ExtensionCall.mostPaths else {
                throw Self.refused("One call asks for \(ExtensionCall.mostPaths) nodes at most.")
            }
            // Reads only a few nodes at a time, so that a response does not exceed the limit by much.
            for start in stride(from: 0, to: paths.count, by: Self.readAtOnce) where size < Self.largestAnswer {
                let some = Array(paths[start..<min(start + Self.readAtOnce, paths.count)])
                for node in try await client.get(some, timeout: patience)
                where nodes.isEmpty || size < Self.largestAnswer {
                    size += (node?.data?.count ?? 0) + 100
                    nodes.append(node.map(WireNode.init))
                }
            }
            return .nodes(list: nodes)
        case .exists(let path): return .stat(stat: try await client.exists(path, timeout: patience).map(WireStat.init))
        case .children(let path):
            return .children(children: WireChildren(try await client.children(of: path, timeout: patience)))
        case .acl(let path):
            return .acl(entries: try await client.acl(of: path, timeout: patience).entries.map(WireACL.init))
        case .bytes(let path): return .bytes(count: try await client.byteUsage(of: path))
        case .awaitNode(let path, let mark, let seconds):
            let node = try await change(seconds, in: client.dataUpdates(of: path)) {
                $0.map { .init(created: $0.stat.czxid, changed: $0.stat.mzxid) } != mark
            }
            return .nodes(list: [node.map(WireNode.init)])
        case .awaitChildren(let path, let mark, let seconds):
            let children = try await change(seconds, in: client.childrenUpdates(of: path)) {
                $0.map { .init(created: $0.stat.czxid, changed: $0.stat.pzxid) } != mark
            }
            return .children(children: children.map(WireChildren.init))
        case .countBytes, .sync, .create, .set, .delete, .multi: throw Self.refused("It is a write.")
        }
    }

    /// Returns the first wanted state. Returns the latest state when the time is over or the gateway shuts down.
    private func change<Element: Sendable>(
        _ seconds: Int, in states: WatchSequence<Element?>, _ isWanted: @escaping @Sendable (Element?) -> Bool
    ) async throws -> Element? {
        let seen = LatestValue<Element>()
        let limit = Duration.seconds(min(max(seconds, 0), ExtensionCall.longestWait))
        return try await cancelWhenGracefulShutdown {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for try await state in states {
                        seen.note(state)
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
            return try seen.value
        }
    }

    // MARK: Writes

    private static func write(
        _ call: ExtensionCall, _ client: ZooKeeperClient, _ patience: Duration
    ) async throws -> ExtensionReply {
        switch call {
        case .sync(let path): try await client.sync(path, timeout: patience)
        case .countBytes(let path): try await client.trackUsage(of: path)
        case .delete(let path, let version): try await client.delete(path, version: version, timeout: patience)
        case .create(let path, let data, let mode):
            let created = try await client.create(
                path, data: data.map { [UInt8]($0) }, mode: mode.mode, timeout: patience)
            return .created(path: created.path, stat: WireStat(created.stat))
        case .set(let path, let data, let version):
            let stat = try await client.set(path, data: data.map { [UInt8]($0) }, version: version, timeout: patience)
            return .stat(stat: WireStat(stat))
        case .multi(let operations):
            return .results(
                list: try await client.multi(operations.map(\.operation), timeout: patience).map(WireResult.init))
        default: throw refused("It is a read.")
        }
        return .done
    }

    private static func refused(_ why: String) -> ZooKeeperError {
        ZooKeeperError(code: .invalidArgument, message: why, path: nil, outcome: .notApplied)
    }

    private static let noSession = ZooKeeperError(
        code: .unknownSession, message: "There is no such session.", path: nil, outcome: .notApplied)
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
