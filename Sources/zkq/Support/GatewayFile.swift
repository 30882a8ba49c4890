import GatewayProtocol
import ZooKeeper
import ZooKeeperGateway

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A gateway's configuration file, in JSON. A missing value has its default. An unknown name is an error,
/// because it may be a misspelt limit.
struct GatewayFile: Decodable {
    struct Endpoint: Decodable {
        var path: String?
        var servers: String
        var auth: String?
        var users: [String: String]?
        var sessionTimeoutSeconds: Double?
    }
    struct TLS: Decodable {
        var certificateChain: String
        var privateKey: String
    }

    var listen: String?
    var endpoints: [Endpoint]
    var users: [String: String]?
    var tls: TLS?
    var allowedHosts: [String]?
    var offersExtensions: Bool?
    var maximumBodySize: Int?
    var maximumHeaderSize: Int?
    /// The older name of `maximumHeaderSize`.
    var maximumHeadSize: Int?
    var maximumURLSize: Int?
    var maximumRequests: Int?
    var maximumConnections: Int?
    var maximumSessions: Int?
    var maximumQueues: Int?
    var maximumLeases: Int?
    var bodyTimeoutSeconds: Double?
    var responseTimeoutSeconds: Double?
    /// The older name of `responseTimeoutSeconds`.
    var answerTimeoutSeconds: Double?
    var idleTimeoutSeconds: Double?

    private static let names: Set = [
        "listen", "endpoints", "users", "tls", "allowedHosts", "offersExtensions", "maximumBodySize",
        "maximumHeaderSize", "maximumHeadSize", "maximumURLSize", "maximumRequests", "maximumConnections",
        "maximumSessions", "maximumQueues", "maximumLeases", "bodyTimeoutSeconds", "responseTimeoutSeconds",
        "answerTimeoutSeconds", "idleTimeoutSeconds",
    ]
    private static let endpointNames: Set = ["path", "servers", "auth", "users", "sessionTimeoutSeconds"]

    /// Reads the file.
    ///
    /// - Throws: ``ToolError`` that says what is wrong with the file, without its secrets.
    static func read(_ file: String) throws -> GatewayFile {
        guard let data = FileManager.default.contents(atPath: file) else {
            throw ToolError(unreadableFile: file, of: "--config")
        }
        guard let found = try? JSONDecoder().decode(JSONNames.self, from: data) else {
            throw ToolError("The gateway's configuration \(file) is not a JSON object. Check its syntax.")
        }
        struct Endpoints: Decodable { let endpoints: [JSONNames] }
        let endpoints = (try? JSONDecoder().decode(Endpoints.self, from: data))?.endpoints ?? []
        let unknown =
            found.names.subtracting(names).sorted()
            + endpoints.flatMap { $0.names.subtracting(endpointNames).sorted() }
        if let name = unknown.first {
            throw ToolError("The gateway's configuration \(file) has the unknown key \"\(name)\". Check its spelling.")
        }
        do {
            return try JSONDecoder().decode(GatewayFile.self, from: data)
        } catch let error as DecodingError {
            throw ToolError("The gateway's configuration \(file) is invalid: \(Self.problem(error)).")
        }
    }

    /// Describes the error and where it is, but not the value there, which may be a secret.
    private static func problem(_ error: DecodingError) -> String {
        func path(_ context: DecodingError.Context, _ key: (any CodingKey)? = nil) -> String {
            (context.codingPath + (key.map { [$0] } ?? [])).map { $0.intValue.map(String.init) ?? $0.stringValue }
                .joined(separator: ".")
        }
        return switch error {
        case .keyNotFound(let key, let context): "\(path(context, key)) is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            "\(path(context)) has the wrong type"
        @unknown default: "it cannot be read"
        }
    }

    func configuration(listen override: String?) throws -> GatewayConfiguration {
        let address = try Self.address(override ?? listen ?? "127.0.0.1:9998")
        var configuration = GatewayConfiguration(
            host: address.host, port: address.port,
            endpoints: try endpoints.map { endpoint in
                .init(
                    path: endpoint.path ?? "/",
                    zookeeper: try ZooKeeperConfiguration(
                        servers: endpoint.servers, sessionTimeout: Self.seconds(endpoint.sessionTimeoutSeconds ?? 10),
                        authentication: try endpoint.auth.map { try .init(parsing: $0) }),
                    users: endpoint.users ?? [:])
            }, users: users ?? [:],
            tls: tls.map { .init(certificateChain: $0.certificateChain, privateKey: $0.privateKey) })
        func set<Value>(_ path: WritableKeyPath<GatewayConfiguration, Value>, _ value: Value?) {
            if let value { configuration[keyPath: path] = value }
        }
        set(\.allowedHosts, allowedHosts)
        set(\.offersExtensions, offersExtensions)
        set(\.maximumBodySize, maximumBodySize)
        set(\.maximumHeaderSize, maximumHeaderSize ?? maximumHeadSize)
        set(\.maximumURLSize, maximumURLSize)
        set(\.maximumRequests, maximumRequests)
        set(\.maximumConnections, maximumConnections)
        set(\.maximumSessions, maximumSessions)
        set(\.maximumQueues, maximumQueues)
        set(\.maximumLeases, maximumLeases)
        set(\.bodyTimeout, bodyTimeoutSeconds.map(Self.seconds))
        set(\.responseTimeout, (responseTimeoutSeconds ?? answerTimeoutSeconds).map(Self.seconds))
        set(\.idleTimeout, idleTimeoutSeconds.map(Self.seconds))
        return configuration
    }

    /// Returns the duration, clamped because `Duration` traps on values that are out of range.
    /// The gateway refuses a clamped value.
    private static func seconds(_ value: Double) -> Duration { .seconds(max(-1, min(1e9, value))) }

    /// Splits an address into its host and port.
    ///
    /// - Throws: ``ToolError`` unless the address is `HOST:PORT`, with brackets around an IPv6 address.
    private static func address(_ text: String) throws -> (host: String, port: Int) {
        guard let colon = text.lastIndex(of: ":"), colon != text.startIndex,
            let port = Int(text[text.index(after: colon)...]), (0...65_535).contains(port)
        else {
            throw ToolError(
                "The listen address must have the form HOST:PORT, with a port from 0 to 65535, not \"\(text)\".")
        }
        return (text[..<colon].trimming { "[]".contains($0) }, port)
    }
}
