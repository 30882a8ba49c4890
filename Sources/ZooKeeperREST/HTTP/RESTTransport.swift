import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Sends HTTP requests, and tells failures before sending from lost responses.
struct RESTTransport: Sendable {
    struct Request: Sendable {
        enum Method: String, Sendable { case get = "GET", post = "POST", put = "PUT", delete = "DELETE" }
        var method: Method
        /// The URL, including the query.
        var url: String
        var contentType = "application/octet-stream"
        var body: [UInt8]?
        /// Whether the gateway answers only when something happens. The request occupies its connection until then.
        var isLongPoll = false
    }

    struct Response: Sendable {
        let status: Int
        let body: [UInt8]
    }

    /// Why there is no response.
    enum Failure: Error {
        /// The request was certainly not sent.
        case notSent
        case noResponse
    }

    private let http: HTTPClient
    /// The client for requests that wait, so that no other request waits for a connection behind them.
    private let longPollClient: HTTPClient
    private let authorization: String?

    /// The largest response in bytes.
    private static let maximumResponseSize = 64 << 20

    init(_ http: HTTPClient, longPollClient: HTTPClient, _ credentials: RESTConfiguration.Credentials?) {
        self.http = http
        self.longPollClient = longPollClient
        authorization = credentials?.authorization
    }

    /// Sends a request and returns its response.
    ///
    /// - Throws: ``Failure``, or `CancellationError`.
    func send(_ request: Request, within limit: Duration) async throws -> Response {
        // The HTTP client's time limit covers only the header of a response.
        try await withThrowingTaskGroup(of: Response.self) { group in
            group.addTask { try await execute(request, within: limit) }
            group.addTask {
                // A timer is needed, because no event says that no response arrives.
                try await Task.sleep(for: limit)
                throw Failure.noResponse
            }
            defer { group.cancelAll() }
            guard let response = try await group.next() else { throw Failure.noResponse }
            return response
        }
    }

    private func execute(_ request: Request, within limit: Duration) async throws -> Response {
        var outgoing = HTTPClientRequest(url: request.url)
        outgoing.method = .init(rawValue: request.method.rawValue)
        outgoing.headers.add(name: "accept", value: "application/json")
        if let authorization { outgoing.headers.add(name: "authorization", value: authorization) }
        if let body = request.body {
            outgoing.headers.add(name: "content-type", value: request.contentType)
            outgoing.body = .bytes(ByteBuffer(bytes: body))
        }
        let milliseconds = max(1, Int64(limit / .milliseconds(1)))
        do {
            let response = try await (request.isLongPoll ? longPollClient : http).execute(
                outgoing, timeout: .milliseconds(milliseconds))
            let body = try await response.body.collect(upTo: Self.maximumResponseSize)
            return Response(status: Int(response.status.code), body: Array(buffer: body))
        } catch {
            if Task.isCancelled { throw CancellationError() }
            throw Self.wasNotSent(error) ? Failure.notSent : .noResponse
        }
    }

    private static func wasNotSent(_ error: any Error) -> Bool {
        switch error {
        case let error as HTTPClientError:
            [.connectTimeout, .tlsHandshakeTimeout, .getConnectionFromPoolTimeout].contains(error)
        case is NIOConnectionError: true
        default: false
        }
    }
}
