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

    enum Sign: Sendable { case alive, ended, noAnswer }

    private struct Created: Decodable { let id: String }

    /// Why no session can be opened now, perhaps only temporarily.
    struct NotNow: Error { let why: String }

    /// Opens a session.
    ///
    /// - Throws: ``NotNow`` when a later attempt may succeed; ``ZooKeeperError`` when the gateway cannot be used.
    func open(at address: String) async throws -> Link {
        let gateway = address.utf8.last == UInt8(ascii: "/") ? String(address.dropLast()) : address
        do {
            let hasExtensions = try await extensions(of: gateway)
            let seconds = Int(configuration.sessionTimeout.components.seconds)
            let opened = ContinuousClock.now
            let response = try await transport.send(
                // The recorded clients of Apache's gateway send it in this form: with the slash, and without a body.
                .init(method: .post, url: "\(gateway)/sessions/v1/?op=create&expire=\(seconds)"),
                within: patience)
            if response.status == 401 { throw Self.notAdmitted }
            let id = response.status == 201 ? response.decoded(as: Created.self)?.id : nil
            let created = try Self.understood(response, id.flatMap { Self.isName($0) ? $0 : nil })
            do {
                let link = try await known(gateway, created, hasExtensions, since: opened)
                // A session that took longer to open would become `suspended` at once.
                guard opened.duration(to: .now) < link.timeout / 2 else {
                    throw NotNow(why: "A session took too long to be opened.")
                }
                return link
            } catch {
                await close(gateway, created)
                throw error
            }
        } catch is RESTTransport.Failure {
            throw NotNow(why: "It gave no answer.")
        }
    }

    /// Returns the value of a response.
    ///
    /// - Parameter value: the value that was read from the response; `nil` when the response is not as it should be.
    /// - Throws: ``NotNow`` for a temporary failure, ``ZooKeeperError`` for a response that cannot be understood.
    private static func understood<Value>(_ response: RESTTransport.Response, _ value: Value?) throws -> Value {
        if let value { return value }
        throw response.mayPass
            ? NotNow(why: "It answered \(response.quoted).") as any Error : response.unreadable(.notApplied)
    }

    /// How long a gateway may take for each request that opens a session.
    private var patience: Duration { min(configuration.sessionTimeout / 3, .seconds(5)) }

    /// Returns whether a session's ID can be a part of a URL.
    private static func isName(_ id: String) -> Bool {
        !id.isEmpty && id.utf8.count <= 100 && id.utf8.allSatisfy { URLText.isPlain($0) }
    }

    /// Returns whether the gateway announces everything that the full guarantee needs.
    ///
    /// - Throws: ``ZooKeeperError`` when it does not and the configuration requires it, or when
    ///   its limit for requests is too low.
    private func extensions(of gateway: String) async throws -> Bool {
        let response = try await transport.send(
            .init(method: .get, url: gateway + "/extensions/v1"), within: patience)
        switch response.status {
        case 401: throw Self.notAdmitted
        case 404: break
        default:
            let announcement = try Self.understood(
                response, response.status == 200 ? response.decoded(as: Capabilities.self) : nil)
            if announcement.maximumBodySize < configuration.maximumRequestSize {
                throw ZooKeeperError(
                    code: .invalidArgument,
                    message:
                        "The gateway takes \(announcement.maximumBodySize) bytes at most, and maximumRequestSize is "
                        + "\(configuration.maximumRequestSize): set it to less.", path: nil, outcome: .notApplied)
            }
            if announcement.isComplete { return true }
        }
        guard configuration.guarantee == .atLeastOnce else {
            throw ZooKeeperError(
                code: .unimplemented,
                message:
                    "The gateway announces no transactions and watches, without which the queue's guarantee cannot be kept: "
                    + "use one that does, or ask for less (RestConfiguration.guarantee).", path: nil,
                outcome: .notApplied)
        }
        return false
    }

    private static let notAdmitted = ZooKeeperError(
        code: .authenticationFailed, message: "The gateway does not admit the user (RestConfiguration.credentials).",
        path: nil, outcome: .notApplied)

    // MARK: What is known of a session

    private func known(
        _ gateway: String, _ id: String, _ hasExtensions: Bool, since opened: ContinuousClock.Instant
    ) async throws -> Link {
        var timeout = configuration.sessionTimeout
        let owner: Int64
        if hasExtensions {
            let response = try await extendedHeartbeat(gateway, id, within: patience)
            switch response.decoded(as: ExtensionReply.self) {
            case .session(let number, let milliseconds):
                // No ensemble has a shorter session timeout.
                let isSession = number != 0 && milliseconds >= 100
                owner = try Self.understood(response, isSession ? number : nil)
                timeout = min(timeout, .milliseconds(milliseconds))
            case .failed(let error): throw NotNow(why: "It answered: \(error.error)")
            default: owner = try Self.understood(response, nil)
            }
        } else {
            owner = try await ownerOfAnEphemeral(gateway, id)
        }
        return Link(
            gateway: gateway, id: id, hasExtensions: hasExtensions, owner: owner, opened: opened, timeout: timeout)
    }

    /// Returns the session's ID at the ensemble. ZooKeeper's REST interface does not report it, but an
    /// ephemeral node of the session does.
    private func ownerOfAnEphemeral(_ gateway: String, _ id: String) async throws -> Int64 {
        let created = try await transport.send(
            .init(
                method: .post,
                url: "\(gateway)/znodes/v1/?op=create&name=rest-session-&sequence=true&ephemeral=true&session=\(id)",
                body: []), within: patience)
        if created.isNotPermitted {
            throw ZooKeeperError.refused(
                .noAuth, "/",
                "The gateway may not create an ephemeral node at its root, which tells a session's number.")
        }
        if created.saysSessionHasEnded { throw NotNow(why: "It forgot the session that it had opened.") }
        let path = created.status == 201 ? created.decoded(as: PlainPath.self)?.path : nil
        let url = try Self.understood(
            created, path.flatMap { (try? NodePath.validate($0)) == nil ? nil : URLText.encoded(path: $0) })
        let node = try await transport.send(
            .init(method: .get, url: "\(gateway)/znodes/v1\(url)?session=\(id)"), within: patience)
        _ = try await transport.send(
            .init(method: .delete, url: "\(gateway)/znodes/v1\(url)?session=\(id)"), within: patience)
        let owner = node.decoded(as: PlainNode.self)?.ephemeralOwner
        return try Self.understood(node, owner == 0 ? nil : owner)
    }

    // MARK: Signs of life

    func heartbeat(_ link: Link, within limit: Duration) async -> Sign {
        do {
            if link.hasExtensions {
                switch try await extendedHeartbeat(link.gateway, link.id, within: limit).decoded(
                    as: ExtensionReply.self)
                {
                case .session(let owner, _): return owner == link.owner ? .alive : .ended
                case .failed(let error): return error.error.code == .unknownSession ? .ended : .noAnswer
                default: return .noAnswer
                }
            }
            let end = ContinuousClock.now + limit
            let sign = try await transport.send(
                .init(method: .put, url: "\(link.gateway)/sessions/v1/\(link.id)", body: []), within: limit)
            if sign.status == 404 { return .ended }
            // The gateway knows the session. The next request shows whether its session at the ensemble still lives.
            let root = try await transport.send(
                .init(method: .get, url: "\(link.gateway)/znodes/v1/?view=children&session=\(link.id)"),
                within: ContinuousClock.now.duration(to: end))
            if root.saysSessionHasEnded { return .ended }
            return sign.status == 200 && (root.status == 200 || root.isNotPermitted) ? .alive : .noAnswer
        } catch {
            return .noAnswer
        }
    }

    private func extendedHeartbeat(
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
