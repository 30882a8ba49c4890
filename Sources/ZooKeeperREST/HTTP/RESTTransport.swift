import AsyncHTTPClient
import Glibc
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
    enum Failure: Error, Equatable {
        /// The request was certainly not sent, for this reason.
        case notSent(String)
        case noResponse

        /// The reason, as a sentence.
        var reason: String {
            switch self {
            case .notSent(let reason): reason
            case .noResponse: "No response arrived."
            }
        }
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
            throw Self.reasonNotSent(error).map(Failure.notSent) ?? .noResponse
        }
    }

    /// Returns why the request was certainly not sent; `nil` when it may have been sent.
    private static func reasonNotSent(_ error: any Error) -> String? {
        if let error = error as? NIOConnectionError { return reason(for: error) }
        return switch error as? HTTPClientError {
        case HTTPClientError.connectTimeout?: "The connection timed out."
        case HTTPClientError.tlsHandshakeTimeout?: "The TLS handshake timed out."
        case HTTPClientError.getConnectionFromPoolTimeout?: "No connection to the gateway was free in time."
        default: nil
        }
    }

    private static func reason(for error: NIOConnectionError) -> String {
        if error.dnsAError != nil, error.connectionErrors.isEmpty {
            return "The host name \(error.host) could not be resolved."
        }
        guard let cause = error.connectionErrors.last?.error else { return "The connection failed." }
        let text = (cause as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(cause)"
        return "The connection failed: \(text)."
    }
}
