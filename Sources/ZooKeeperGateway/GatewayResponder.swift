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
        let response = await bounded(request)
        counts.count(response.status.code)
        // The client would read the body of such a response as the beginning of the next response.
        return request.method == .head ? response.createHeadResponse() : response
    }

    private func bounded(_ request: HummingbirdCore.Request) async -> Response {
        defer { requests.subtract(1, ordering: .relaxed) }
        let isHealth = OperationsResource.isHealth((request.head.path ?? "").prefix { $0 != "?" })
        if requests.add(1, ordering: .relaxed).newValue > configuration.maximumRequests, !isHealth {
            var answer = GatewayResponse(.serviceUnavailable)
            answer.headers[.retryAfter] = "1"
            return answer.response
        }
        do {
            return try await answer(to: request).response
        } catch let answer as GatewayResponse {
            return answer.response
        } catch is CancellationError {
            // The client has closed the connection, or the gateway is shutting down.
            return GatewayResponse(.serviceUnavailable).response
        } catch {
            logger.error("A request failed", metadata: ["error": "\(error)"])
            return GatewayResponse(.internalServerError).response
        }
    }

    private func answer(to request: HummingbirdCore.Request) async throws -> GatewayResponse {
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
                "The gateway does not serve \(gateway.host): add its name to allowedHosts.")
        }
        if let answer = try await operations.answer(gateway) { return answer }
        guard let (endpoint, rest) = endpoint(of: gateway.rawPath) else { throw GatewayResponse(.notFound) }
        guard endpoint.authentication.admits(gateway.headers) else { throw BasicAuthentication.refusal }
        if let answer = DashboardResource.answer(rest, gateway.method, version: configuration.version) { return answer }
        try refuseOtherSites(gateway)
        if let answer = try await waiting(request, gateway, rest, endpoint) { return answer }
        gateway.body = try await collect(request.body, gateway.headers, upTo: largestBody(gateway, rest))
        if rest == "/extensions/v1", configuration.offersExtensions {
            return try await ExtensionResource(endpoint: endpoint, request: gateway).answer()
        }
        if rest == "/queues/v1" || rest == "/queues/v1/" { return try await QueueResource.list(endpoint, gateway) }
        if rest.hasPrefix("/queues/v1/") {
            return try await QueueResource(endpoint, gateway, rawPath: String(rest.dropFirst("/queues/v1/".count)))
                .answer()
        }
        guard let format = MediaType(accepting: gateway.headers, standard: Self.standard(gateway.method)) else {
            throw GatewayResponse(.notAcceptable)
        }
        if rest.hasPrefix("/znodes/v1/") {
            return try await ZNodeResource(endpoint, gateway, format, rawPath: String(rest.dropFirst(10))).answer()
        }
        if rest == "/sessions/v1" || rest.hasPrefix("/sessions/v1/") {
            let id = String(rest.dropFirst("/sessions/v1/".count))
            return try await SessionResource(endpoint: endpoint, request: gateway, format: format, id: id).answer()
        }
        throw GatewayResponse(.notFound)
    }

    /// Returns the media type that Apache's gateway sends to a client that accepts anything.
    private static func standard(_ method: HTTPRequest.Method) -> MediaType {
        [.get, .head].contains(method) ? .xml : .json
    }

    /// Responds to a request that waits for an event. When the client closes the connection, the wait is
    /// cancelled, and the client gets no message.
    ///
    /// - Returns: `nil` when the request does not wait.
    private func waiting(
        _ request: HummingbirdCore.Request, _ gateway: GatewayRequest, _ rest: Substring, _ endpoint: Endpoint
    ) async throws -> GatewayResponse? {
        guard gateway.method == .post, gateway.query["wait"] != nil else { return nil }
        let isForLeases = rest.hasPrefix("/queues/v1/") && rest.hasSuffix("/leases")
        guard isForLeases || rest == "/extensions/v1" && configuration.offersExtensions else { return nil }
        var answer: GatewayResponse
        do {
            answer = try await request.body.consumeWithCancellationOnInboundClose { body in
                if isForLeases {
                    let path = String(rest.dropFirst("/queues/v1/".count))
                    return try await QueueResource(endpoint, gateway, rawPath: path).answer()
                }
                var gateway = gateway
                gateway.body = try await self.collect(
                    body, gateway.headers, upTo: self.largestBody(gateway, rest))
                return try await ExtensionResource(endpoint: endpoint, request: gateway).answer()
            }
        } catch let refusal as GatewayResponse {
            answer = refusal
        }
        // The connection will be closed, because the bytes that were read to detect its end cannot be put back. The
        // header tells the client to send nothing more on it.
        answer.headers[.connection] = "close"
        return answer
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

    /// Returns the most bytes that the body of a request may have. The limit counts data, which is
    /// longer in JSON: by a third in base64, and up to three times when it is escaped (`\u00e9`). The
    /// code that reads the JSON counts the data.
    private func largestBody(_ request: GatewayRequest, _ rest: Substring) -> Int {
        let limit = configuration.maximumBodySize
        let isJSON = rest == "/extensions/v1" || rest.hasPrefix("/queues/v1/") && request.isJSON
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
