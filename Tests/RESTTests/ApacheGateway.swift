import Foundation
import GatewayProtocol
import NIOCore
import NIOHTTP1
import NIOPosix
import ZooKeeper
import ZooKeeperTestKit

/// A gateway that responds as Apache's does (see `GatewayTests/Recorded`), to a ZooKeeper in memory.
///
/// It has no extensions. It omits `children` when a node has none, and `data64` when its data is null.
actor ApacheGateway {
    enum Fault {
        /// The gateway cannot reach ZooKeeper, so each operation on a node fails.
        case outage
        /// The gateway responds to no request.
        case hanging
        /// Another server responds in place of the gateway.
        case replaced(Response)
    }

    struct Response: Sendable {
        var status: Int
        var body = ""
    }

    /// The methods of the requests that the gateway left without a response.
    nonisolated let unanswered: AsyncStream<String>
    private let continuation: AsyncStream<String>.Continuation
    private let zookeeper: InMemoryZooKeeper
    private var sessions: [String: InMemorySession] = [:]
    private var fault: Fault?

    init(_ zookeeper: InMemoryZooKeeper) {
        self.zookeeper = zookeeper
        (unanswered, continuation) = AsyncStream.makeStream()
    }

    /// Makes the gateway fail from now on. `nil` ends the fault.
    func inject(_ fault: Fault?) { self.fault = fault }

    // MARK: Responding

    func respond(_ method: HTTPMethod, _ uri: String, _ body: [UInt8]) async throws -> Response {
        switch fault {
        case .hanging:
            continuation.yield(method.rawValue)
            // Hangs until the test ends.
            try await Task.sleep(for: .seconds(3_600))
        case .replaced(let response): return response
        case .outage, nil: break
        }
        let parts = uri.split(separator: "?", maxSplits: 1).map(String.init)
        var query: [String: String] = [:]
        for pair in (parts.count > 1 ? parts[1] : "").split(separator: "&") {
            let words = pair.split(separator: "=", maxSplits: 1)
            query[String(words[0])] = words.count > 1 ? URLText.decoded(words[1]) : ""
        }
        if parts[0].hasPrefix("/sessions/v1/") { return respond(method, session: String(parts[0].dropFirst(13)), uri) }
        guard parts[0].hasPrefix("/znodes/v1/"), let path = URLText.decoded(parts[0].dropFirst(10)) else {
            return Response(status: 404)
        }
        guard let session = sessions[query["session"] ?? ""] else { return Response(status: 401) }
        do {
            if case .outage = fault {
                throw ZooKeeperError(code: .connectionLoss, message: "ConnectionLoss", path: path, outcome: .unknown)
            }
            return try await respond(method, path, query, body, uri, session)
        } catch let error as ZooKeeperError {
            return Self.errorResponse(error, path, uri)
        }
    }

    private func respond(_ method: HTTPMethod, session id: String, _ uri: String) -> Response {
        switch method {
        case .POST:
            let id = UUID().uuidString.lowercased()
            sessions[id] = zookeeper.connect(id)
            return Self.json(201, ["id": id, "uri": "http://gateway/sessions/v1/\(id)"])
        case .PUT:
            return sessions[id] == nil
                ? Self.json(404, ["request": uri, "message": "session \(id) not found"]) : Response(status: 200)
        default:
            sessions.removeValue(forKey: id)?.close()
            return Response(status: 204)
        }
    }

    private func respond(
        _ method: HTTPMethod, _ path: String, _ query: [String: String], _ body: [UInt8], _ uri: String,
        _ session: InMemorySession
    ) async throws -> Response {
        let data = query["null"] == "true" ? nil : body
        let version = query["version"].flatMap { Int32($0) }
        switch method {
        case .GET where query["view"] == "children":
            let names = try await session.children(of: path).names
            var members: [String: Any] = ["path": path, "uri": uri, "child_uri_template": "\(uri)/{child}"]
            if !names.isEmpty { members["children"] = names }
            return Self.json(200, members)
        case .GET:
            let node = try await session.get(path)
            var members = Self.members(of: node.stat, path, uri)
            if let data = node.data { members["data64"] = Data(data).base64EncodedString() }
            return Self.json(200, members)
        case .PUT:
            let stat = try await session.set(path, data: data, version: version)
            return Self.json(200, Self.members(of: stat, path, uri))
        case .POST:
            let mode: CreateMode =
                switch (query["sequence"] == "true", query["ephemeral"] == "true") {
                case (false, false): .persistent
                case (false, true): .ephemeral
                case (true, false): .persistentSequential
                case (true, true): .ephemeralSequential
                }
            let name = query["name"] ?? "null"
            let created = try await session.create(path == "/" ? "/\(name)" : "\(path)/\(name)", data: data, mode: mode)
            return Self.json(201, ["path": created.path, "uri": uri])
        default:
            try await session.delete(path, version: version)
            return Response(status: 204)
        }
    }

    private static func errorResponse(_ error: ZooKeeperError, _ path: String, _ uri: String) -> Response {
        let (status, text) =
            switch error.code {
            case .noNode: (404, "\(path) not found")
            case .nodeExists: (409, "\(path) already exists")
            case .notEmpty: (409, "\(path) not empty")
            case .badVersion: (412, "\(path) bad version")
            case .noAuth: (502, "Error processing request for \(path) : KeeperErrorCode = NoAuth for \(path)")
            default: (502, "Error processing request for \(path) : KeeperErrorCode = ConnectionLoss for \(path)")
            }
        return json(status, ["request": "http://gateway\(uri)", "message": text])
    }

    private static func members(of stat: Stat, _ path: String, _ uri: String) -> [String: Any] {
        [
            "path": path, "uri": uri, "czxid": stat.czxid, "mzxid": stat.mzxid, "pzxid": stat.pzxid,
            "ctime": stat.ctime, "mtime": stat.mtime, "version": stat.version, "cversion": stat.cversion,
            "aversion": stat.aversion, "ephemeralOwner": stat.ephemeralOwner, "dataLength": stat.dataLength,
            "numChildren": stat.numChildren,
        ]
    }

    private static func json(_ status: Int, _ members: [String: Any]) -> Response {
        let body = (try? JSONSerialization.data(withJSONObject: members)) ?? Data()
        return Response(status: status, body: String(decoding: body, as: UTF8.self))
    }

    // MARK: Serving

    private typealias Connection = NIOAsyncChannel<HTTPServerRequestPart, HTTPServerResponsePart>

    /// Runs `body` with the gateway's address.
    func serve<Result: Sendable>(_ body: @escaping @Sendable (String) async throws -> Result) async throws -> Result {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    return try Connection(wrappingChannelSynchronously: channel)
                }
            }
        let address = "http://127.0.0.1:\(server.channel.localAddress?.port ?? 0)"
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask {
                try await server.executeThenClose { connections in
                    try await withThrowingDiscardingTaskGroup { group in
                        for try await connection in connections {
                            // A connection that the client closes ends with an error, which must not end the others.
                            group.addTask { try? await self.serve(connection) }
                        }
                    }
                }
                return nil
            }
            group.addTask { try await body(address) }
            defer { group.cancelAll() }
            while let result = try await group.next() { if let result { return result } }
            throw CancellationError()
        }
    }

    private nonisolated func serve(_ connection: Connection) async throws {
        try await connection.executeThenClose { requests, responses in
            var head: HTTPRequestHead?
            var body: [UInt8] = []
            for try await part in requests {
                switch part {
                case .head(let received): (head, body) = (received, [])
                case .body(let bytes): body += Array(buffer: bytes)
                case .end:
                    guard let head else { return }
                    let response = try await respond(head.method, head.uri, body)
                    let hasBody = response.status != 204
                    try await responses.write(
                        .head(
                            HTTPResponseHead(
                                version: .http1_1, status: .init(statusCode: response.status),
                                headers: hasBody ? ["content-length": "\(response.body.utf8.count)"] : [:])))
                    if !response.body.isEmpty {
                        try await responses.write(.body(.byteBuffer(ByteBuffer(string: response.body))))
                    }
                    try await responses.write(.end(nil))
                }
            }
        }
    }
}

/// Runs `body` with a gateway that responds as Apache's does, and its address.
func withApacheGateway<Result: Sendable>(
    _ zookeeper: InMemoryZooKeeper = InMemoryZooKeeper(),
    _ body: @escaping @Sendable (ApacheGateway, String) async throws -> Result
) async throws -> Result {
    let gateway = ApacheGateway(zookeeper)
    return try await gateway.serve { try await body(gateway, $0) }
}
