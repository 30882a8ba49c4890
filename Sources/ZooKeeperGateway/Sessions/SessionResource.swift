import HTTPTypes
import ZooKeeper

/// The resource `/sessions/v1`: sessions, which own ephemeral nodes.
struct SessionResource {
    let endpoint: Endpoint
    let request: GatewayRequest
    let format: MediaType
    /// The part of the path after `/sessions/v1/`: a session's ID, or nothing.
    let id: String

    func answer() async throws -> GatewayResponse {
        switch request.method {
        case .post where id.isEmpty: return try await create()
        case .put where !id.isEmpty:
            guard await endpoint.sessions.touch(id) else {
                return GatewayResponse(.notFound, format, "session \(id) not found", request)
            }
            return GatewayResponse(.ok, format)
        case .delete where !id.isEmpty:
            // Answers 204 even when there is no such session, because the client wanted it to be gone.
            await endpoint.sessions.close(id)
            return GatewayResponse(.noContent, format)
        default: return .methodNotAllowed(id.isEmpty ? "POST" : "PUT, DELETE")
        }
    }

    /// The longest expiry that a client can request, in seconds.
    private static let longest = 86_400

    private func create() async throws -> GatewayResponse {
        let operation = request.query["op"] ?? "create"
        guard operation == "create" else {
            return GatewayResponse(.badRequest, format, "bad operation \(operation)", request)
        }
        guard let seconds = Int(request.query["expire"] ?? "5"), (1...Self.longest).contains(seconds) else {
            return GatewayResponse(.badRequest)
        }
        let id: String?
        do {
            id = try await endpoint.sessions.open(patience: .seconds(seconds), within: endpoint.responseTimeout)
        } catch let error as ZooKeeperError {
            let refusal = ErrorMapping(error, path: "session", isConnected: false)
            return GatewayResponse(refusal.status, format, refusal.message, request)
        }
        guard let id else {
            return GatewayResponse(.serviceUnavailable, format, "there are too many sessions", request)
        }
        let address = request.address.hasSuffix("/") ? request.address + id : "\(request.address)/\(id)"
        var answer =
            if format == .octets {
                GatewayResponse(.created, format, bytes: Array(id.utf8))
            } else {
                GatewayResponse(.created, format, ResponseBody("session", ["id": .text(id), "uri": .text(address)]))
            }
        answer.headers[.location] = address
        return answer
    }
}
