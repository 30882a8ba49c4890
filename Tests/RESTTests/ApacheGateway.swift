import Foundation
import GatewayProtocol
import NIOCore
import NIOHTTP1
import NIOPosix
import ZooKeeper
import ZooKeeperTestKit

/// A gateway that answers as Apache's does (see `GatewayTests/Recorded`), for a ZooKeeper in memory: without extensions, with
/// `children` left out where a node has none, and `data64` where its data is null. It can lose its ZooKeeper, and hang.
actor ApacheGateway {
    enum Trouble {
        /// It has lost its ZooKeeper: each operation on a node fails.
        case outage
        /// It answers nothing any more.
        case hanging
        /// Something else answers in its place.
        case replaced(Answer)
    }

    struct Answer: Sendable {
        var status: Int
        var body = ""
    }

    /// The methods of the requests that it has left without an answer.
    nonisolated let unanswered: AsyncStream<String>
    private let continuation: AsyncStream<String>.Continuation
    private let zookeeper: InMemoryZooKeeper
    private var sessions: [String: InMemorySession] = [:]
    private var trouble: Trouble?

    init(_ zookeeper: InMemoryZooKeeper) {
        self.zookeeper = zookeeper
        (unanswered, continuation) = AsyncStream.makeStream()
    }

    func meet(_ trouble: Trouble?) { self.trouble = trouble }

    // MARK: Answering

    func answer(_ method: HTTPMethod, _ uri: String, _ body: [UInt8]) async throws -> Answer {
        switch trouble {
        case .hanging:
            continuation.yield(method.rawValue)
            // Until the test has ended.
            try await Task.sleep(for: .seconds(3_600))
        case .replaced(let answer): return answer
        case .outage, nil: break
        }
        let parts = uri.split(separator: "?", maxSplits: 1).map(String.init)
        var query: [String: String] = [:]
        for pair in (parts.count > 1 ? parts[1] : "").split(separator: "&") {
            let words = pair.split(separator: "=", maxSplits: 1)
            query[String(words[0])] = words.count > 1 ? URLText.decoded(words[1]) : ""
        }
        if parts[0].hasPrefix("/sessions/v1/") { return answer(method, session: String(parts[0].dropFirst(13)), uri) }
        guard parts[0].hasPrefix("/znodes/v1/"), let path = URLText.decoded(parts[0].dropFirst(10)) else {
            return Answer(status: 404)
        }
        guard let session = sessions[query["session"] ?? ""] else { return Answer(status: 401) }
        do {
            if case .outage = trouble {
                throw ZooKeeperError(code: .connectionLoss, message: "ConnectionLoss", path: path, outcome: .unknown)
            }
            return try await answer(method, path, query, body, uri, session)
        } catch let error as ZooKeeperError {
            return Self.refusal(error, path, uri)
        }
    }

    private func answer(_ method: HTTPMethod, session id: String, _ uri: String) -> Answer {
        switch method {
        case .POST:
            let id = UUID().uuidString.lowercased()
            sessions[id] = zookeeper.connect(id)
            return Self.json(201, ["id": id, "uri": "http://gateway/sessions/v1/\(id)"])
        case .PUT:
            return sessions[id] == nil
                ? Self.json(404, ["request": uri, "message": "session \(id) not found"]) : Answer(status: 200)
        default:
            sessions.removeValue(forKey: id)?.close()
            return Answer(status: 204)
        }
    }

    private func answer(
        _ method: HTTPMethod, _ path: String, _ query: [String: String], _ body: [UInt8], _ uri: String,
        _ session: InMemorySession
    ) async throws -> Answer {
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
            return Answer(status: 204)
        }
    }

    private static func refusal(_ error: ZooKeeperError, _ path: String, _ uri: String) -> Answer {
        let (status, words) =
            switch error.code {
            case .noNode: (404, "\(path) not found")
            case .nodeExists: (409, "\(path) already exists")
            case .notEmpty: (409, "\(path) not empty")
            case .badVersion: (412, "\(path) bad version")
            case .noAuth: (502, "Error processing request for \(path) : KeeperErrorCode = NoAuth for \(path)")
            default: (502, "Error processing request for \(path) : KeeperErrorCode = ConnectionLoss for \(path)")
            }
        return json(status, ["request": "http://gateway\(uri)", "message": words])
    }

    private static func members(of stat: Stat, _ path: String, _ uri: String) -> [String: Any] {
        [
            "path": path, "uri": uri, "czxid": stat.czxid, "mzxid": stat.mzxid, "pzxid": stat.pzxid,
            "ctime": stat.ctime, "mtime": stat.mtime, "version": stat.version, "cversion": stat.cversion,
            "aversion": stat.aversion, "ephemeralOwner": stat.ephemeralOwner, "dataLength": stat.dataLength,
            "numChildren": stat.numChildren,
        ]
    }

    private static func json(_ status: Int, _ members: [String: Any]) -> Answer {
        let body = (try? JSONSerialization.data(withJSONObject: members)) ?? Data()
        return Answer(status: status, body: String(decoding: body, as: UTF8.self))
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
                            // One that is given up ends with an error, and the others go on.
                            group.addTask { try? await self.answer(connection) }
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

    private nonisolated func answer(_ connection: Connection) async throws {
        try await connection.executeThenClose { requests, responses in
            var head: HTTPRequestHead?
            var body: [UInt8] = []
            for try await part in requests {
                switch part {
                case .head(let received): (head, body) = (received, [])
                case .body(let bytes): body += Array(buffer: bytes)
                case .end:
                    guard let head else { return }
                    let answer = try await answer(head.method, head.uri, body)
                    let hasBody = answer.status != 204
                    try await responses.write(
                        .head(
                            HTTPResponseHead(
                                version: .http1_1, status: .init(statusCode: answer.status),
                                headers: hasBody ? ["content-length": "\(answer.body.utf8.count)"] : [:])))
                    if !answer.body.isEmpty {
                        try await responses.write(.body(.byteBuffer(ByteBuffer(string: answer.body))))
                    }
                    try await responses.write(.end(nil))
                }
            }
        }
    }
}

/// Runs `body` with a gateway such as Apache's, and its address.
func withApacheGateway<Result: Sendable>(
    _ zookeeper: InMemoryZooKeeper = InMemoryZooKeeper(),
    _ body: @escaping @Sendable (ApacheGateway, String) async throws -> Result
) async throws -> Result {
    let gateway = ApacheGateway(zookeeper)
    return try await gateway.serve { try await body(gateway, $0) }
}
