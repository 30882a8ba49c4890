import HTTPTypes
import ZooKeeper

/// The resource `/sessions/v1`: sessions, which own ephemeral nodes.
struct SessionResource {
    let endpoint: Endpoint
    let request: GatewayRequest
    let mediaType: MediaType
    /// The part of the path after `/sessions/v1/`: a session's ID, or nothing.
    let id: String

    func respond() async throws -> GatewayResponse {
        switch request.method {
        case .post where id.isEmpty: return try await create()
        case .put where !id.isEmpty:
            guard await endpoint.sessions.touch(id) else {
                return GatewayResponse(.notFound, mediaType, "session \(id) not found", request)
            }
            return GatewayResponse(.ok, mediaType)
        case .delete where !id.isEmpty:
            // Answers 204 even when there is no such session, because the client wanted it to be gone.
            await endpoint.sessions.close(id)
            return GatewayResponse(.noContent, mediaType)
        default: return .methodNotAllowed(id.isEmpty ? "POST" : "PUT, DELETE")
        }
    }

    /// The longest expiry that a client can request, in seconds.
    private static let maximumExpiry = 86_400

    private func create() async throws -> GatewayResponse {
        let operation = request.query["op"] ?? "create"
        guard operation == "create" else {
            return GatewayResponse(.badRequest, mediaType, "bad operation \(operation)", request)
        }
        guard let seconds = Int(request.query["expire"] ?? "5"), (1...Self.maximumExpiry).contains(seconds) else {
            return GatewayResponse(.badRequest)
        }
        let id: String?
        do {
            id = try await endpoint.sessions.open(timeout: .seconds(seconds), within: endpoint.responseTimeout)
        } catch let error as ZooKeeperError {
            let mapping = ErrorMapping(error, path: "session", isConnected: false)
            return GatewayResponse(mapping.status, mediaType, mapping.message, request)
        }
        guard let id else {
            return GatewayResponse(
                .serviceUnavailable, mediaType,
                "The gateway already has its maximum number of sessions, or is shutting down. Try again later.", request
            )
        }
        let address = request.address.hasSuffix("/") ? request.address + id : "\(request.address)/\(id)"
        var response =
            if mediaType == .octets {
                GatewayResponse(.created, mediaType, bytes: Array(id.utf8))
            } else {
                GatewayResponse(.created, mediaType, ResponseBody("session", ["id": .text(id), "uri": .text(address)]))
            }
        response.headers[.location] = address
        return response
    }
}
