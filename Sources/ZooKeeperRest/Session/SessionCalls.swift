import Foundation
import GatewayExtensions
import ZooKeeper

/// What is asked of a gateway about a session.
struct SessionCalls: Sendable {
    let transport: RestTransport
    let configuration: RestConfiguration

    enum Sign: Sendable { case alive, ended, noAnswer }

    private struct Created: Decodable { let id: String }

    /// - Returns: `nil` when the gateway does not answer as it should, which may pass.
    /// - Throws: ``ZooKeeperError`` when it is of no use as it is.
    func open(at address: String) async throws -> Link? {
        let gateway = address.hasSuffix("/") ? String(address.dropLast()) : address
        do {
            guard let hasExtensions = try await extensions(of: gateway) else { return nil }
            let seconds = Int(configuration.sessionTimeout.components.seconds)
            let opened = ContinuousClock.now
            let response = try await transport.send(
                // As the recorded clients of ZooKeeper's own gateway send it: with the slash, and without a body.
                .init(method: .post, url: "\(gateway)/sessions/v1/?op=create&expire=\(seconds)"),
                within: patience)
            if response.status == 401 { throw Self.notAdmitted }
            guard response.status == 201, let created = response.decoded(as: Created.self),
                Self.isName(created.id)
            else { return nil }
            do {
                // One that took too long to be known would be in doubt at once.
                if let link = try await known(gateway, created.id, hasExtensions, since: opened),
                    opened.duration(to: .now) < link.timeout / 2
                {
                    return link
                }
            } catch {
                await close(gateway, created.id)
                throw error
            }
            await close(gateway, created.id)
            return nil
        } catch is RestTransport.Failure {
            return nil
        }
    }

    /// How long a gateway may take for a request, of those that open a session.
    private var patience: Duration { min(configuration.sessionTimeout / 3, .seconds(5)) }

    /// It becomes a part of addresses.
    private static func isName(_ id: String) -> Bool {
        !id.isEmpty && id.utf8.count <= 100 && id.utf8.allSatisfy { URLText.isPlain($0) }
    }

    /// What the gateway announces.
    ///
    /// - Returns: `nil` when it does not say.
    private func extensions(of gateway: String) async throws -> Bool? {
        let response = try await transport.send(
            .init(method: .get, url: gateway + "/extensions/v1"), within: patience)
        switch response.status {
        case 200:
            guard let announcement = response.decoded(as: Announcement.self) else { return nil }
            if announcement.maximumBodySize < configuration.maximumRequestSize {
                throw ZooKeeperError(
                    code: .invalidArgument,
                    message:
                        "The gateway takes \(announcement.maximumBodySize) bytes at most, and maximumRequestSize is "
                        + "\(configuration.maximumRequestSize): set it to less.", path: nil, outcome: .notApplied)
            }
            if announcement.isComplete { return true }
        case 404: break
        case 401: throw Self.notAdmitted
        default: return nil
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
    ) async throws -> Link? {
        var timeout = configuration.sessionTimeout
        let owner: Int64?
        if hasExtensions {
            guard
                case .session(let number, let milliseconds) = try await extendedHeartbeat(gateway, id, within: patience)
            else { return nil }
            owner = number
            timeout = min(timeout, .milliseconds(milliseconds))
        } else {
            owner = try await ownerOfAnEphemeral(gateway, id)
        }
        // No ensemble has shorter ones.
        guard let owner, owner != 0, timeout >= .milliseconds(100) else { return nil }
        return Link(
            gateway: gateway, id: id, hasExtensions: hasExtensions, owner: owner, opened: opened, timeout: timeout)
    }

    /// The interface does not tell a session's number; a node of the session does.
    private func ownerOfAnEphemeral(_ gateway: String, _ id: String) async throws -> Int64? {
        let created = try await transport.send(
            .init(
                method: .post,
                url: "\(gateway)/znodes/v1/?op=create&name=rest-session-&sequence=true&ephemeral=true&session=\(id)",
                body: []), within: patience)
        if created.status == 401 {
            throw ZooKeeperError.refused(
                .noAuth, "/",
                "The gateway may not create an ephemeral node at its root, which tells a session's number.")
        }
        guard created.status == 201, let path = created.decoded(as: PlainPath.self)?.path,
            (try? NodePath.validate(path)) != nil
        else { return nil }
        let url = "\(gateway)/znodes/v1\(URLText.encoded(path: path))"
        let node = try await transport.send(
            .init(method: .get, url: "\(url)?session=\(id)"), within: patience)
        _ = try await transport.send(
            .init(method: .delete, url: "\(url)?session=\(id)"), within: patience)
        return node.decoded(as: PlainNode.self)?.ephemeralOwner
    }

    // MARK: Signs of life

    func heartbeat(_ link: Link, within limit: Duration) async -> Sign {
        do {
            if link.hasExtensions {
                switch try await extendedHeartbeat(link.gateway, link.id, within: limit) {
                case .session(let owner, _): return owner == link.owner ? .alive : .ended
                case .failed(let error): return error.error.code == .unknownSession ? .ended : .noAnswer
                default: return .noAnswer
                }
            }
            let end = ContinuousClock.now + limit
            let sign = try await transport.send(
                .init(method: .put, url: "\(link.gateway)/sessions/v1/\(link.id)", body: []), within: limit)
            if sign.status == 404 { return .ended }
            // The gateway lives; does its session at the ensemble?
            let root = try await transport.send(
                .init(method: .get, url: "\(link.gateway)/znodes/v1/?view=children&session=\(link.id)"),
                within: ContinuousClock.now.duration(to: end))
            if root.status == 401, root.body.isEmpty { return .ended }
            return sign.status == 200 && (root.status == 200 || root.status == 401) ? .alive : .noAnswer
        } catch {
            return .noAnswer
        }
    }

    private func extendedHeartbeat(
        _ gateway: String, _ id: String, within limit: Duration
    ) async throws -> ExtensionReply? {
        let request = ExtensionRequest(session: id, number: nil, call: .heartbeat)
        return try await transport.send(
            .init(
                method: .post, url: gateway + "/extensions/v1", contentType: "application/json",
                body: try request.encoded()), within: limit
        ).decoded(as: ExtensionReply.self)
    }

    func close(_ link: Link) async { await close(link.gateway, link.id) }

    private func close(_ gateway: String, _ id: String) async {
        // Also when nobody waits any more.
        await Task {
            _ = try? await transport.send(
                .init(method: .delete, url: "\(gateway)/sessions/v1/\(id)"), within: .seconds(2))
        }.value
    }
}
