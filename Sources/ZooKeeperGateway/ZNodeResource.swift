import GatewayProtocol
import HTTPTypes
import ZooKeeper

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The resource `/znodes/v1/<path>`: a node of ZooKeeper. It follows specification version 2, and answers as Apache's
/// gateway does.
struct ZNodeResource {
    let endpoint: Endpoint
    let request: GatewayRequest
    let mediaType: MediaType
    /// The node's path, decoded.
    let path: String

    /// - Parameter rawPath: the part of the path after `/znodes/v1`, still percent-encoded.
    init(_ endpoint: Endpoint, _ request: GatewayRequest, _ mediaType: MediaType, rawPath: String)
        throws(GatewayResponse)
    {
        self.endpoint = endpoint
        self.request = request
        self.mediaType = mediaType
        guard let path = URLText.decoded(rawPath) else {
            throw GatewayResponse(.badRequest, mediaType, "The path is not valid percent-encoded UTF-8.", request)
        }
        self.path = path
        // Checked after decoding, because no encoding of a path may lead out of the chroot.
        try Self.check(path, mediaType, request)
    }

    private static func check(_ path: String, _ mediaType: MediaType, _ request: GatewayRequest) throws(GatewayResponse)
    {
        do {
            try NodePath.validate(path)
        } catch {
            throw GatewayResponse(
                .badRequest, mediaType, "\((error as? ZooKeeperError)?.message ?? "The path is not valid.")", request)
        }
    }

    func respond() async throws -> GatewayResponse {
        let session = request.query["session"].flatMap { $0.isEmpty ? nil : $0 }
        guard let client = await endpoint.client(session: session) else { return GatewayResponse(.unauthorized) }
        do {
            switch request.method {
            case .get: return try await get(client)
            case .head: return try await exists(client)
            case .put: return try await set(client)
            case .post: return try await create(client, hasSession: session != nil)
            case .delete: return try await delete(client)
            default: return .methodNotAllowed("GET, HEAD, PUT, POST, DELETE")
            }
        } catch let error as ZooKeeperError {
            let isConnected = client.sessionState.phase == .connected
            let mapping = ErrorMapping(error, path: error.path ?? path, isConnected: isConnected)
            return GatewayResponse(mapping.status, mediaType, mapping.message, request)
        }
    }

    // MARK: Methods

    private func get(_ client: ZooKeeperClient) async throws -> GatewayResponse {
        let callback = try callback()
        if mediaType != .octets, request.query["view"] == "children" {
            let names = try await client.children(of: path, timeout: endpoint.timeout(for: client)).names.sorted()
            let address = request.address
            let template = address.hasSuffix("/") ? "\(address){child}" : "\(address)/{child}"
            var body = ResponseBody(
                "child", ["path": .text(path), "uri": .text(address), "child_uri_template": .text(template)])
            // Apache's gateway omits the field from JSON when a node has no children, and its clients expect that.
            if !names.isEmpty || mediaType == .xml { body.append("children", .list("child", names)) }
            return GatewayResponse(.ok, mediaType, body, callback: callback)
        }
        let node = try await client.get(path, timeout: endpoint.timeout(for: client))
        if mediaType == .octets {
            guard let data = node.data else { return GatewayResponse(.noContent, mediaType) }
            return GatewayResponse(.ok, mediaType, bytes: data)
        }
        return GatewayResponse(.ok, mediaType, stat(node.stat, data: node.data), callback: callback)
    }

    private func exists(_ client: ZooKeeperClient) async throws -> GatewayResponse {
        let stat = try await client.exists(path, timeout: endpoint.timeout(for: client))
        if stat == nil { return GatewayResponse(.notFound, mediaType) }
        return GatewayResponse(mediaType == .octets ? .noContent : .ok, mediaType)
    }

    private func set(_ client: ZooKeeperClient) async throws -> GatewayResponse {
        try checkContentType()
        let callback = try callback()
        let data = request.flag("null") ? nil : request.body
        let stat = try await client.set(path, data: data, version: version(), timeout: endpoint.timeout(for: client))
        if mediaType == .octets { return GatewayResponse(.noContent, mediaType) }
        return GatewayResponse(.ok, mediaType, self.stat(stat, data: nil), callback: callback)
    }

    private func create(_ client: ZooKeeperClient, hasSession: Bool) async throws -> GatewayResponse {
        try checkContentType()
        guard let name = request.query["name"], !name.isEmpty else {
            throw badRequest("The query parameter 'name' is missing.")
        }
        let newPath = path == "/" ? "/\(name)" : "\(path)/\(name)"
        let operation = request.query["op"] ?? "create"
        guard operation == "create" else { throw badRequest("\(newPath) bad operation \(operation)") }
        let isEphemeral = (request.query["ephemeral"] ?? "false") != "false"
        if isEphemeral, !hasSession { throw badRequest("\(newPath) not created; an ephemeral node requires a session") }
        let isSequential = request.flag("sequence")
        let mode: CreateMode =
            switch (isEphemeral, isSequential) {
            case (false, false): .persistent
            case (false, true): .persistentSequential
            case (true, false): .ephemeral
            case (true, true): .ephemeralSequential
            }
        let data = request.flag("null") ? nil : request.body
        let created: CreatedNode
        do {
            created = try await client.create(
                newPath, data: data, mode: mode, timeout: endpoint.timeout(for: client))
        } catch let error as ZooKeeperError {
            let isConnected = client.sessionState.phase == .connected
            let mapping = ErrorMapping(error, path: newPath, isConnected: isConnected)
            return GatewayResponse(mapping.status, mediaType, mapping.message, request)
        }
        var response =
            if mediaType == .octets {
                GatewayResponse(.created, mediaType, bytes: Array(created.path.utf8))
            } else {
                GatewayResponse(
                    .created, mediaType,
                    ResponseBody("path", ["path": .text(created.path), "uri": .text(request.address)]))
            }
        // The address of the request followed by the node's whole path, as Apache's gateway sends it.
        let address = request.address.hasSuffix("/") ? String(request.address.dropLast()) : request.address
        response.headers[.location] = address + URLText.encoded(path: created.path)
        return response
    }

    private func delete(_ client: ZooKeeperClient) async throws -> GatewayResponse {
        try await client.delete(path, version: version(), timeout: endpoint.timeout(for: client))
        return GatewayResponse(.noContent, mediaType)
    }

    // MARK: Helpers

    private func badRequest(_ message: String) -> GatewayResponse {
        GatewayResponse(.badRequest, mediaType, message, request)
    }

    private func version() throws(GatewayResponse) -> Int32? {
        guard let text = request.query["version"] else { return nil }
        guard let version = Int32(text) else { throw badRequest("\(path) bad version \(text)") }
        return version == -1 ? nil : version
    }

    /// Returns the name of the function to call. The name has only letters, digits and underscores, so that a response
    /// is a function call and no other script.
    private func callback() throws(GatewayResponse) -> String {
        guard let callback = request.query["callback"] else { return "callback" }
        let isValid =
            !callback.isEmpty && callback.count <= 100
            && callback.utf8.allSatisfy {
                $0 == UInt8(ascii: "_") || URLText.isUnreserved($0) && !"-.~".utf8.contains($0)
            }
        guard isValid else {
            throw badRequest("The callback is not valid. Use at most 100 letters, digits and underscores.")
        }
        return callback
    }

    private func checkContentType() throws(GatewayResponse) {
        guard let type = request.headers[.contentType] else { return }
        let name = type.prefix { $0 != ";" }.filter { !$0.isWhitespace }.lowercased()
        guard name == MediaType.octets.contentType else {
            throw GatewayResponse(
                .unsupportedMediaType, mediaType,
                "The content type is not supported. Send the data as application/octet-stream.", request)
        }
    }

    private func stat(_ stat: Stat, data: [UInt8]?) -> ResponseBody {
        var body = ResponseBody("stat", ["path": .text(path), "uri": .text(request.address)])
        if let data, request.query["dataformat"] == "utf8" {
            // Apache's gateway sends `null` for empty data here, but not in `data64`.
            body.append("dataUtf8", data.isEmpty ? .null : .text(String(decoding: data, as: UTF8.self)))
        } else if let data {
            body.append("data64", .text(Data(data).base64EncodedString()))
        }
        let numbers: KeyValuePairs = [
            "czxid": stat.czxid, "mzxid": stat.mzxid, "ctime": stat.ctime, "mtime": stat.mtime,
            "version": Int64(stat.version), "cversion": Int64(stat.cversion), "aversion": Int64(stat.aversion),
            "ephemeralOwner": stat.ephemeralOwner, "dataLength": Int64(stat.dataLength),
            "numChildren": Int64(stat.numChildren), "pzxid": stat.pzxid,
        ]
        for (name, number) in numbers { body.append(name, .number(number)) }
        return body
    }
}
