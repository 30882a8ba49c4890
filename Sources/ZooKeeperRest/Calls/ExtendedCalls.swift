import Foundation
import GatewayExtensions
import ZooKeeper

/// With a gateway that has transactions and watches: each call is one request.
struct ExtendedCalls: GatewayCalls {
    let exchange: Exchange

    /// How long a gateway waits for a change.
    private static let wait = 20

    private func call(_ call: ExtensionCall, wait: Int? = nil) async throws -> ExtensionReply {
        try await exchange.perform(isWrite: call.isWrite, wait: .seconds(wait ?? 0)) { link in
            // Another one for each attempt: a gateway takes none twice.
            let number = call.isWrite ? exchange.turn.nextNumber() : nil
            let body = try ExtensionRequest(session: link.id, number: number, call: call).encoded()
            return .init(
                method: .post, url: link.gateway + "/extensions/v1" + (wait.map { "?wait=\($0)" } ?? ""),
                contentType: "application/json", body: body, isWait: wait != nil)
        } _: { response in
            guard let reply = response.decoded(as: ExtensionReply.self) else { return try Self.judge(response.status) }
            guard case .failed(let failure) = reply else { return .value(reply) }
            let error = failure.error
            switch error.code {
            case .unknownSession: return .sessionHasEnded
            case .deadlineExceeded where error.outcome == .notApplied: return .later(error)
            // The gateway's own session, and not this store.
            case .closed, .closing, .sessionExpired:
                return error.outcome == .notApplied ? .sessionHasEnded : .inDoubt("The gateway's session has ended.")
            default: throw error
            }
        }
    }

    /// An answer that is none of the extension's.
    private static func judge(_ status: Int) throws -> Exchange.Judgement<ExtensionReply> {
        switch status {
        // It has been replaced by one that has no extensions, or does not admit us any more.
        case 401, 404: .sessionHasEnded
        case 425, 429: .later(.refused(.deadlineExceeded, "", "The gateway has too much to do."))
        case 408: .inDoubt("The gateway answered \(status).")
        case 413: throw ZooKeeperError.refused(.requestTooLarge, "", "The gateway takes no request so large.")
        case 400..<500: throw ZooKeeperError.refused(.badArguments, "", "The gateway refuses the request: \(status).")
        default: .inDoubt("The gateway answered \(status).")
        }
    }

    private static let mismatch = ZooKeeperError(
        code: .runtimeInconsistency, message: "An answer of another kind came.", path: nil, outcome: .unknown)

    // MARK: Calls

    func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode {
        guard let mode = WireMode(mode) else {
            throw ZooKeeperError.refused(.invalidArgument, path, "A gateway creates no such kind of node.")
        }
        guard
            case .created(let path, let stat) = try await call(
                .create(path: path, data: data.map { Data($0) }, mode: mode))
        else { throw Self.mismatch }
        return CreatedNode(path: path, stat: stat.stat)
    }

    func delete(_ path: String, version: Int32?) async throws {
        guard case .done = try await call(.delete(path: path, version: version)) else { throw Self.mismatch }
    }

    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
        let reply = try await call(.set(path: path, data: data.map { Data($0) }, version: version))
        guard case .stat(let stat?) = reply else { throw Self.mismatch }
        return stat.stat
    }

    func get(_ paths: [String]) async throws -> [Node?] {
        var nodes: [Node?] = []
        while nodes.count < paths.count {
            let rest = Array(paths[nodes.count...].prefix(ExtensionCall.mostPaths))
            guard case .nodes(let some) = try await call(.get(paths: rest)), !some.isEmpty, some.count <= rest.count
            else { throw Self.mismatch }
            nodes += some.map { $0?.node }
        }
        return nodes
    }

    func exists(_ path: String) async throws -> Stat? {
        guard case .stat(let stat) = try await call(.exists(path: path)) else { throw Self.mismatch }
        return stat?.stat
    }

    func children(of path: String) async throws -> NodeChildren {
        guard case .children(let children?) = try await call(.children(path: path)) else { throw Self.mismatch }
        return children.children
    }

    func acl(of path: String) async throws -> [ACL]? {
        guard case .acl(let acl) = try await call(.acl(path: path)) else { throw Self.mismatch }
        return acl.map(\.acl)
    }

    func countBytes(below path: String) async throws {
        guard case .done = try await call(.countBytes(path: path)) else { throw Self.mismatch }
    }

    func bytes(below path: String) async throws -> Int? {
        guard case .bytes(let bytes) = try await call(.bytes(path: path)) else { throw Self.mismatch }
        return bytes
    }

    func sync(_ path: String) async throws {
        guard case .done = try await call(.sync(path: path)) else { throw Self.mismatch }
    }

    func multi(_ operations: [ZooKeeper.Operation]) async throws -> [OperationResult] {
        let reply = try await call(.multi(operations: operations.compactMap(WireOperation.init)))
        guard case .results(let results) = reply, results.count == operations.count else { throw Self.mismatch }
        return results.map(\.result)
    }

    func node(_ path: String, after mark: ExtensionCall.Mark?) async throws -> Node? {
        let reply = try await call(.awaitNode(path: path, after: mark, seconds: Self.wait), wait: Self.wait)
        guard case .nodes(let nodes) = reply, nodes.count == 1 else { throw Self.mismatch }
        return nodes[0]?.node
    }

    func children(of path: String, after mark: ExtensionCall.Mark?) async throws -> NodeChildren? {
        let reply = try await call(.awaitChildren(path: path, after: mark, seconds: Self.wait), wait: Self.wait)
        guard case .children(let children) = reply else { throw Self.mismatch }
        return children?.children
    }
}
