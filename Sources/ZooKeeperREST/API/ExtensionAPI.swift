import GatewayProtocol
import ZooKeeper

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The calls to a gateway with transactions and watches: each call is one request.
struct ExtensionAPI: GatewayAPI {
    let executor: RequestExecutor

    /// How long a gateway waits for a change, in seconds.
    private static let wait = 20

    /// Sends a call and reads its reply.
    ///
    /// - Parameter value: reads a reply of the right kind; returns `nil` for any other.
    private func call<Value>(
        _ call: ExtensionCall, wait: Int? = nil, _ value: (ExtensionReply) -> Value?
    ) async throws -> Value {
        try await executor.perform(isWrite: call.isWrite, wait: .seconds(wait ?? 0)) { link in
            // Each attempt has a new number, because a gateway accepts a number only once.
            let number = call.isWrite ? executor.writeMutex.nextNumber() : nil
            let body = try ExtensionRequest(session: link.id, number: number, call: call).encoded()
            return .init(
                method: .post, url: link.gateway + "/extensions/v1" + (wait.map { "?wait=\($0)" } ?? ""),
                contentType: "application/json", body: body, isLongPoll: wait != nil)
        } _: { response in
            guard let reply = response.decoded(as: ExtensionReply.self) else { return try Self.interpret(response) }
            guard case .failed(let failure) = reply else { return value(reply).map { .value($0) } ?? .unreadable }
            let error = failure.error
            switch error.code {
            case .unknownSession: return .sessionEnded
            case .deadlineExceeded where error.outcome == .notApplied: return .retry(error)
            // This is about the gateway's session, and not about this store.
            case .closed, .closing, .sessionExpired:
                return error.outcome == .notApplied
                    ? .sessionEnded : .unknown(reason: "The gateway's session ended before the response arrived.")
            default: throw error
            }
        }
    }

    /// Interprets a response that is not a reply of the extension.
    private static func interpret<Value>(
        _ response: RESTTransport.Response
    ) throws -> RequestExecutor.Interpretation<Value> {
        switch response.status {
        // Another gateway without extensions has replaced this one, or the gateway no longer admits the user.
        case 401, 404: return .sessionEnded
        case 425, 429: return .retry(.overloadedGateway())
        case _ where response.isTransient: return .unknown(reason: "The gateway responded with \(response.quoted).")
        case 413:
            throw ZooKeeperError.requestTooLargeForGateway()
        case 400..<500:
            throw ZooKeeperError.refused(
                .badArguments, nil, "The gateway refused the request: it responded with \(response.quoted).")
        default: return .unreadable
        }
    }

    // MARK: Calls

    func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode {
        guard let mode = WireMode(mode) else {
            throw ZooKeeperError.unsupportedMode(path)
        }
        return try await call(.create(path: path, data: data.map { Data($0) }, mode: mode)) {
            guard case .created(let path, let stat) = $0 else { return nil }
            return CreatedNode(path: path, stat: stat.stat)
        }
    }

    func delete(_ path: String, version: Int32?) async throws {
        try await call(.delete(path: path, version: version), Self.done)
    }

    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
        try await call(.set(path: path, data: data.map { Data($0) }, version: version)) {
            guard case .stat(let stat) = $0 else { return nil }
            return stat?.stat
        }
    }

    func get(_ paths: [String]) async throws -> [Node?] {
        var nodes: [Node?] = []
        while nodes.count < paths.count {
            let rest = Array(paths[nodes.count...].prefix(ExtensionCall.maximumPaths))
            nodes += try await call(.get(paths: rest)) {
                guard case .nodes(let read) = $0, !read.isEmpty, read.count <= rest.count else { return nil }
                return read.map { $0?.node }
            }
        }
        return nodes
    }

    func exists(_ path: String) async throws -> Stat? {
        try await call(.exists(path: path)) { reply -> Stat?? in
            guard case .stat(let stat) = reply else { return nil }
            return .some(stat?.stat)
        }
    }

    func children(of path: String) async throws -> NodeChildren {
        try await call(.children(path: path)) {
            guard case .children(let children) = $0 else { return nil }
            return children?.children
        }
    }

    func acl(of path: String) async throws -> [ACL]? {
        try await call(.acl(path: path)) {
            guard case .acl(let acl) = $0 else { return nil }
            return acl.map(\.acl)
        }
    }

    func trackUsage(of path: String) async throws { try await call(.countBytes(path: path), Self.done) }

    func byteUsage(of path: String) async throws -> Int? {
        try await call(.bytes(path: path)) { reply -> Int?? in
            guard case .bytes(let bytes) = reply else { return nil }
            return .some(bytes)
        }
    }

    func sync(_ path: String) async throws { try await call(.sync(path: path), Self.done) }

    func multi(_ operations: [ZooKeeper.ZooKeeperOperation]) async throws -> [OperationResult] {
        try await call(.multi(operations: operations.compactMap(WireOperation.init))) {
            guard case .results(let results) = $0, results.count == operations.count else { return nil }
            return results.map(\.result)
        }
    }

    func node(_ path: String, after revision: ExtensionCall.Revision?) async throws -> Node? {
        try await call(.awaitNode(path: path, after: revision, seconds: Self.wait), wait: Self.wait) {
            reply -> Node?? in
            guard case .nodes(let nodes) = reply, nodes.count == 1 else { return nil }
            return .some(nodes[0]?.node)
        }
    }

    func children(of path: String, after revision: ExtensionCall.Revision?) async throws -> NodeChildren? {
        try await call(.awaitChildren(path: path, after: revision, seconds: Self.wait), wait: Self.wait) {
            reply -> NodeChildren?? in
            guard case .children(let children) = reply else { return nil }
            return .some(children?.children)
        }
    }

    private static func done(_ reply: ExtensionReply) -> Void? {
        if case .done = reply { return () }
        return nil
    }
}
