import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import Synchronization
import ZooKeeper

/// Responds to requests: checks the host and the user, and finds the endpoint and the resource.
final class GatewayResponder: Sendable {
    private let configuration: GatewayConfiguration
    private let endpoints: [Endpoint]
    private let allowedHosts: AllowedHosts
    private let logger: Logger
    /// The number of requests in progress.
    private let requests = Atomic<Int>(0)
    private let counts = RequestCounts()

    init(_ configuration: GatewayConfiguration, _ endpoints: [Endpoint], _ logger: Logger) {
        self.configuration = configuration
        allowedHosts = AllowedHosts(configuration)
        // Longest prefix first, because the most specific endpoint takes the request.
        self.endpoints = endpoints.sorted { $0.prefix.count > $1.prefix.count }
        self.logger = logger
    }

    func respond(to request: HummingbirdCore.Request) async -> Response {
        let response = await responseWithinLimits(request)
        counts.count(response.status.code)
        // The client would read the body of such a response as the beginning of the next response.
        return request.method == .head ? response.createHeadResponse() : response
    }

    private func responseWithinLimits(_ request: HummingbirdCore.Request) async -> Response {
        defer { requests.subtract(1, ordering: .relaxed) }
        let isHealth = OperationsResource.isHealth((request.head.path ?? "").prefix { $0 != "?" })
        if requests.add(1, ordering: .relaxed).newValue > configuration.maximumRequests, !isHealth {
            var response = GatewayResponse(.serviceUnavailable)
            response.headers[.retryAfter] = "1"
            return response.httpResponse
        }
        do {
            return try await route(request).httpResponse
        } catch let response as GatewayResponse {
            return response.httpResponse
        } catch is CancellationError {
            // The client has closed the connection, or the gateway is shutting down.
            return GatewayResponse(.serviceUnavailable).httpResponse
        } catch {
            logger.error("A request failed", metadata: ["error": "\(error)"])
            return GatewayResponse(.internalServerError).httpResponse
        }
    }

    private func route(_ request: HummingbirdCore.Request) async throws -> GatewayResponse {
        guard (request.head.path ?? "").utf8.count <= configuration.maximumURLSize else {
            throw GatewayResponse(.uriTooLong)
        }
        var gateway = try GatewayRequest(request.head, scheme: configuration.tls == nil ? "http" : "https")
        let operations = OperationsResource(
            endpoints: endpoints, authentication: BasicAuthentication(users: configuration.users), counts: counts,
            requests: requests.load(ordering: .relaxed), version: configuration.version)
        // A health check may use any host name.
        guard OperationsResource.isHealth(gateway.rawPath) || allowedHosts.allow(gateway.host) else {
            throw GatewayResponse.problem(
                .misdirectedRequest, "unknownHost",
                "The gateway does not serve the host \(gateway.host). Add the host to allowedHosts to serve it.")
        }
        if let response = try await operations.respond(to: gateway) { return response }
        guard let (endpoint, resourcePath) = endpoint(of: gateway.rawPath) else { throw GatewayResponse(.notFound) }
        guard endpoint.authentication.admits(gateway.headers) else { throw BasicAuthentication.challenge }
        if let response = DashboardResource.respond(to: resourcePath, gateway.method, version: configuration.version) {
            return response
        }
        try refuseOtherSites(gateway)
        if let response = try await respondAfterWait(request, gateway, resourcePath, endpoint) { return response }
        gateway.body = try await collect(request.body, gateway.headers, upTo: maximumBodyLength(gateway, resourcePath))
        if resourcePath == "/extensions/v1", configuration.offersExtensions {
            return try await ExtensionResource(endpoint: endpoint, request: gateway).respond()
        }
        if resourcePath == "/queues/v1" || resourcePath == "/queues/v1/" {
            return try await QueueResource.list(endpoint, gateway)
        }
        if resourcePath.hasPrefix("/queues/v1/") {
            return try await QueueResource(
                endpoint, gateway, rawPath: String(resourcePath.dropFirst("/queues/v1/".count))
            )
            .respond()
        }
        guard let mediaType = MediaType(accepting: gateway.headers, default: Self.defaultMediaType(gateway.method))
        else {
            throw GatewayResponse(.notAcceptable)
        }
        if resourcePath.hasPrefix("/znodes/v1/") {
            return try await ZNodeResource(endpoint, gateway, mediaType, rawPath: String(resourcePath.dropFirst(10)))
                .respond()
        }
        if resourcePath == "/sessions/v1" || resourcePath.hasPrefix("/sessions/v1/") {
            let id = String(resourcePath.dropFirst("/sessions/v1/".count))
            return try await SessionResource(endpoint: endpoint, request: gateway, mediaType: mediaType, id: id)
                .respond()
        }
        throw GatewayResponse(.notFound)
    }

    /// Returns the media type that Apache's gateway sends to a client that accepts anything.
    private static func defaultMediaType(_ method: HTTPRequest.Method) -> MediaType {
        [.get, .head].contains(method) ? .xml : .json
    }

    /// Responds to a request that waits for an event. When the client closes the connection, the wait is cancelled, and
    /// the client gets no message.
    ///
    /// - Returns: `nil` when the request does not wait.
    private func respondAfterWait(
        _ request: HummingbirdCore.Request, _ gateway: GatewayRequest, _ resourcePath: Substring, _ endpoint: Endpoint
    ) async throws -> GatewayResponse? {
        guard gateway.method == .post, gateway.query["wait"] != nil else { return nil }
        let isForLeases = resourcePath.hasPrefix("/queues/v1/") && resourcePath.hasSuffix("/leases")
        guard isForLeases || resourcePath == "/extensions/v1" && configuration.offersExtensions else { return nil }
        var response: GatewayResponse
        do {
            response = try await request.body.consumeWithCancellationOnInboundClose { body in
                if isForLeases {
                    let path = String(resourcePath.dropFirst("/queues/v1/".count))
                    return try await QueueResource(endpoint, gateway, rawPath: path).respond()
                }
                var gateway = gateway
                gateway.body = try await self.collect(
                    body, gateway.headers, upTo: self.maximumBodyLength(gateway, resourcePath))
                return try await ExtensionResource(endpoint: endpoint, request: gateway).respond()
            }
        } catch let error as GatewayResponse {
            response = error
        }
        // The connection will be closed, because the bytes that were read to detect its end cannot be put back. The
        // header tells the client to send nothing more on it.
        response.headers[.connection] = "close"
        return response
    }

    /// Refuses a request that changes something and comes from another site's page. Such a page can make a browser send
    /// requests here with the user's credentials, but the browser names the page's origin.
    private func refuseOtherSites(_ request: GatewayRequest) throws {
        guard request.method != .get, request.method != .head, let origin = request.headers[.origin] else { return }
        if !origin.isIdentical(to: request.server) { throw GatewayResponse(.forbidden) }
    }

    private func endpoint(of path: String) -> (Endpoint, Substring)? {
        for endpoint in endpoints where path.hasPrefix(endpoint.prefix + "/") {
            return (endpoint, path.dropFirst(endpoint.prefix.count))
        }
        return nil
    }

    /// Returns the maximum number of bytes in the body of a request. The limit counts data, which is longer in JSON: by
    /// a third in base64, and up to three times when it is escaped (`\u00e9`). The code that reads the JSON counts the
    /// data.
    private func maximumBodyLength(_ request: GatewayRequest, _ resourcePath: Substring) -> Int {
        let limit = configuration.maximumBodySize
        let isJSON = resourcePath == "/extensions/v1" || resourcePath.hasPrefix("/queues/v1/") && request.isJSON
        return isJSON ? min(limit, .max / 3) * 3 : limit
    }

    private func collect(_ body: RequestBody, _ headers: HTTPFields, upTo limit: Int) async throws -> [UInt8] {
        let timeout = configuration.bodyTimeout
        if let text = headers[.contentLength], Int(text) ?? .max > limit { throw GatewayResponse(.contentTooLarge) }
        // Most requests have no body, and need no timer for it.
        if headers[.transferEncoding] == nil, headers[.contentLength] ?? "0" == "0" { return [] }
        return try await withThrowingTaskGroup(of: [UInt8].self) { group in
            group.addTask {
                do {
                    return Array(buffer: try await body.collect(upTo: limit))
                } catch is NIOTooManyBytesError {
                    throw GatewayResponse(.contentTooLarge)
                } catch is CancellationError {
                    throw CancellationError()
                } catch {
                    // The body was cut short, or its chunked encoding is invalid.
                    throw GatewayResponse(.badRequest)
                }
            }
            group.addTask {
                // A timer is needed, because no event says that the body does not arrive.
                try await Task.sleep(for: timeout)
                throw GatewayResponse(.requestTimeout)
            }
            defer { group.cancelAll() }
            return try await group.next() ?? []
        }
    }
}
