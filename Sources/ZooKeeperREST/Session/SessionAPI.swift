import GatewayProtocol
import ZooKeeper

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The requests that open, check and close a session.
struct SessionAPI: Sendable {
    let transport: RESTTransport
    let configuration: RESTConfiguration

    enum HeartbeatResult: Sendable { case alive, ended, noResponse }

    private struct Created: Decodable { let id: String }

    /// Why no session can be opened now, perhaps only temporarily.
    struct TemporaryFailure: Error { let reason: String }

    /// Opens a session.
    ///
    /// - Throws: ``TemporaryFailure`` when a later attempt may succeed; ``ZooKeeperError`` when the gateway cannot be
    ///   used.
    func open(at address: String) async throws -> Link {
        let gateway = address.utf8.last == UInt8(ascii: "/") ? String(address.dropLast()) : address
        do {
            let hasExtensions = try await extensions(of: gateway)
            let seconds = Int(configuration.sessionTimeout.components.seconds)
            let opened = ContinuousClock.now
            let response = try await transport.send(
                // The recorded clients of Apache's gateway send it in this form: with the slash, and without a body.
                .init(method: .post, url: "\(gateway)/sessions/v1/?op=create&expire=\(seconds)"),
                within: setupTimeout)
            if response.status == 401 { throw Self.unauthorized }
            let id = response.status == 201 ? response.decoded(as: Created.self)?.id : nil
            let created = try Self.validated(response, id.flatMap { Self.isValidID($0) ? $0 : nil })
            do {
                let link = try await makeLink(gateway, created, hasExtensions, since: opened)
                // A session that took longer to open would become `suspended` at once.
                guard opened.duration(to: .now) < link.timeout / 2 else {
                    throw TemporaryFailure(reason: "The session took too long to open.")
                }
                return link
            } catch {
                await close(gateway, created)
                throw error
            }
        } catch let failure as RESTTransport.Failure {
            throw TemporaryFailure(reason: failure.reason)
        }
    }

    /// Returns the value of a response.
    ///
    /// - Parameter value: the value that was read from the response; `nil` when the response is not as it should be.
    /// - Throws: ``TemporaryFailure``, or ``ZooKeeperError`` for a response that cannot be understood.
    private static func validated<Value>(_ response: RESTTransport.Response, _ value: Value?) throws -> Value {
        if let value { return value }
        throw response.isTransient
            ? TemporaryFailure(reason: "The gateway responded with \(response.quoted).") as any Error
            : response.unreadable(.notApplied)
    }

    /// How long a gateway may take for each request that opens a session.
    private var setupTimeout: Duration { min(configuration.sessionTimeout / 3, .seconds(5)) }

    /// Returns whether a session's ID can be a part of a URL.
    private static func isValidID(_ id: String) -> Bool {
        !id.isEmpty && id.utf8.count <= 100 && id.utf8.allSatisfy { URLText.isUnreserved($0) }
    }

    /// Returns whether the gateway advertises everything that the full guarantee needs.
    ///
    /// - Throws: ``ZooKeeperError`` when it does not and the configuration requires it, or when its limit for requests
    ///   is too low.
    private func extensions(of gateway: String) async throws -> Bool {
        let response = try await transport.send(
            .init(method: .get, url: gateway + "/extensions/v1"), within: setupTimeout)
        switch response.status {
        case 401: throw Self.unauthorized
        case 404: break
        default:
            let capabilities = try Self.validated(
                response, response.status == 200 ? response.decoded(as: Capabilities.self) : nil)
            if capabilities.maximumBodySize < configuration.maximumRequestSize {
                throw ZooKeeperError(
                    code: .invalidArgument,
                    message:
                        "The gateway accepts at most \(capabilities.maximumBodySize) bytes, but maximumRequestSize is "
                        + "\(configuration.maximumRequestSize). Reduce it, or raise the gateway's maximumBodySize.",
                    path: nil, outcome: .notApplied)
            }
            if capabilities.isComplete { return true }
        }
        guard configuration.guarantee == .atLeastOnce else {
            throw ZooKeeperError(
                code: .unimplemented,
                message:
                    "The gateway does not support transactions and watches, so a message may be delivered twice. Use "
                    + "\"zkq gateway\", or accept that with RESTConfiguration.guarantee.", path: nil,
                outcome: .notApplied)
        }
        return false
    }

    private static let unauthorized = ZooKeeperError(
        code: .authenticationFailed,
        message: "The gateway refused the credentials. Check the user name and the password.",
        path: nil, outcome: .notApplied)

    // MARK: Describing a session

    private func makeLink(
        _ gateway: String, _ id: String, _ hasExtensions: Bool, since opened: ContinuousClock.Instant
    ) async throws -> Link {
        var timeout = configuration.sessionTimeout
        let owner: Int64
        if hasExtensions {
            let response = try await extensionHeartbeat(gateway, id, within: setupTimeout)
            switch response.decoded(as: ExtensionReply.self) {
            case .session(let number, let milliseconds):
                // No ensemble has a shorter session timeout.
                let isSession = number != 0 && milliseconds >= 100
                owner = try Self.validated(response, isSession ? number : nil)
                timeout = min(timeout, .milliseconds(milliseconds))
            case .failed(let error): throw TemporaryFailure(reason: "The gateway reported an error: \(error.error)")
            default: owner = try Self.validated(response, nil)
            }
        } else {
            owner = try await readOwner(gateway, id)
        }
        return Link(
            gateway: gateway, id: id, hasExtensions: hasExtensions, owner: owner, opened: opened, timeout: timeout)
    }

    /// Returns the session's ID at the ensemble. ZooKeeper's REST interface does not report it, but an ephemeral node
    /// of the session does.
    private func readOwner(_ gateway: String, _ id: String) async throws -> Int64 {
        let created = try await transport.send(
            .init(
                method: .post,
                url: "\(gateway)/znodes/v1/?op=create&name=rest-session-&sequence=true&ephemeral=true&session=\(id)",
                body: []), within: setupTimeout)
        if created.isPermissionDenied {
            throw ZooKeeperError.refused(
                .noAuth, "/",
                "The gateway is not permitted to create an ephemeral node at its root, so the session's ID cannot be "
                    + "read. Grant the gateway the permission to create nodes there.")
        }
        if created.isUnknownSession {
            throw TemporaryFailure(
                reason:
                    "The gateway does not know the session that it opened. A load balancer must send all requests of "
                    + "a session to the same gateway.")
        }
        let path = created.status == 201 ? created.decoded(as: PathResponse.self)?.path : nil
        let url = try Self.validated(
            created, path.flatMap { (try? NodePath.validate($0)) == nil ? nil : URLText.encoded(path: $0) })
        let node = try await transport.send(
            .init(method: .get, url: "\(gateway)/znodes/v1\(url)?session=\(id)"), within: setupTimeout)
        _ = try await transport.send(
            .init(method: .delete, url: "\(gateway)/znodes/v1\(url)?session=\(id)"), within: setupTimeout)
        let owner = node.decoded(as: NodeResponse.self)?.ephemeralOwner
        return try Self.validated(node, owner == 0 ? nil : owner)
    }

    // MARK: Heartbeats

    func heartbeat(_ link: Link, within limit: Duration) async -> HeartbeatResult {
        do {
            if link.hasExtensions {
                switch try await extensionHeartbeat(link.gateway, link.id, within: limit).decoded(
                    as: ExtensionReply.self)
                {
                case .session(let owner, _): return owner == link.owner ? .alive : .ended
                case .failed(let error): return error.error.code == .unknownSession ? .ended : .noResponse
                default: return .noResponse
                }
            }
            let end = ContinuousClock.now + limit
            let response = try await transport.send(
                .init(method: .put, url: "\(link.gateway)/sessions/v1/\(link.id)", body: []), within: limit)
            if response.status == 404 { return .ended }
            // The gateway knows the session. The next request shows whether its session at the ensemble still lives.
            let root = try await transport.send(
                .init(method: .get, url: "\(link.gateway)/znodes/v1/?view=children&session=\(link.id)"),
                within: ContinuousClock.now.duration(to: end))
            if root.isUnknownSession { return .ended }
            return response.status == 200 && (root.status == 200 || root.isPermissionDenied) ? .alive : .noResponse
        } catch {
            return .noResponse
        }
    }

    private func extensionHeartbeat(
        _ gateway: String, _ id: String, within limit: Duration
    ) async throws -> RESTTransport.Response {
        let request = ExtensionRequest(session: id, number: nil, call: .heartbeat)
        return try await transport.send(
            .init(
                method: .post, url: gateway + "/extensions/v1", contentType: "application/json",
                body: try request.encoded()), within: limit)
    }

    func close(_ link: Link) async { await close(link.gateway, link.id) }

    private func close(_ gateway: String, _ id: String) async {
        // Closes the session even when the caller is cancelled.
        await Task {
            _ = try? await transport.send(
                .init(method: .delete, url: "\(gateway)/sessions/v1/\(id)"), within: .seconds(2))
        }.value
    }
}
