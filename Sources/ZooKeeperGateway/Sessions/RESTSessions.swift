import Logging
import ZooKeeper

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The sessions that clients have opened. Each has a separate session at the ensemble, which owns the client's
/// ephemeral nodes.
///
/// A session is closed when its client sends no heartbeat for as long as the client has requested. Its nodes are
/// deleted with it.
actor RESTSessions {
    private struct Session {
        let client: ZooKeeperClient
        let timeout: Duration
        var expiresAt: ContinuousClock.Instant
        /// Closes the session when it expires.
        let expiry: Task<Void, Never>
        /// The number of the newest write, among the writes that have a number.
        var lastWrite = 0
    }

    private let configuration: ZooKeeperConfiguration
    private let maximum: Int
    private let logger: Logger
    /// The sessions by ID.
    private var sessions: [ExactString: Session] = [:]
    /// How many sessions are being opened.
    private var opening = 0
    private var isClosed = false

    init(_ configuration: ZooKeeperConfiguration, maximum: Int, logger: Logger) {
        self.configuration = configuration
        self.maximum = maximum
        self.logger = logger
    }

    var count: Int { sessions.count }

    /// Opens a session. Returns when the session exists at the ensemble.
    ///
    /// - Returns: the session's ID; `nil` when there are too many sessions, or the gateway is shutting down.
    func open(timeout: Duration, within limit: Duration) async throws -> String? {
        guard !isClosed, sessions.count + opening < maximum else { return nil }
        opening += 1
        defer { opening -= 1 }
        let client = try ZooKeeperClient(configuration: configuration, logger: logger)
        do {
            _ = try await client.exists("/", timeout: limit)
        } catch {
            await client.close()
            throw error
        }
        if isClosed {
            await client.close()
            return nil
        }
        // A UUID of version 4 is random, so that other clients cannot guess it.
        let id = UUID().uuidString.lowercased()
        let expiry = Task {
            while let remaining = timeLeft(id) {
                // A session expires by time, and no event announces that.
                if remaining <= .zero { return await expire(id) }
                try? await Task.sleep(for: remaining)
                if Task.isCancelled { return }
            }
        }
        sessions[ExactString(id)] = Session(
            client: client, timeout: timeout, expiresAt: .now + timeout, expiry: expiry)
        return id
    }

    private func timeLeft(_ id: String) -> Duration? {
        sessions[ExactString(id)].map { ContinuousClock.now.duration(to: $0.expiresAt) }
    }

    private func expire(_ id: String) async {
        logger.debug("Closed a session without heartbeats")
        await sessions.removeValue(forKey: ExactString(id))?.client.close()
    }

    /// Closes a session whose session at the ensemble has expired, because its nodes are gone.
    private func prune(_ id: String) async {
        if sessions[ExactString(id)]?.client.sessionState.expirations ?? 0 > 0 { await close(id) }
    }

    func client(of id: String) async -> ZooKeeperClient? {
        await prune(id)
        return sessions[ExactString(id)]?.client
    }

    /// Notes a heartbeat of the client.
    ///
    /// - Returns: whether the session exists.
    func touch(_ id: String) async -> Bool {
        await prune(id)
        guard let session = sessions[ExactString(id)] else { return false }
        sessions[ExactString(id)]?.expiresAt = .now + session.timeout
        return true
    }

    /// Begins a write, unless a newer one has begun. A client that sent the newer write has given up on this one, and
    /// may have reported that to its callers.
    ///
    /// The task runs immediately, because writes must be sent in the order in which they begin.
    ///
    /// - Throws: ``ZooKeeperError`` when there is no such session, or when a newer write has begun.
    func begin<Result: Sendable>(
        _ id: String, number: Int, _ write: @escaping @Sendable (ZooKeeperClient) async throws -> Result
    ) throws -> Task<Result, any Error> {
        guard let session = sessions[ExactString(id)] else {
            throw Self.unknownSession
        }
        guard number > session.lastWrite else {
            throw ZooKeeperError(
                code: .invalidArgument,
                message: "Not applied: the gateway has already received this write of the session or a later one. "
                    + "Number the writes of a session in ascending order.", path: nil, outcome: .notApplied)
        }
        sessions[ExactString(id)]?.lastWrite = number
        return Task.immediate { try await write(session.client) }
    }

    static let unknownSession = ZooKeeperError(
        code: .unknownSession, message: "The gateway does not know the session. Open another one.", path: nil,
        outcome: .notApplied)

    func close(_ id: String) async {
        guard let session = sessions.removeValue(forKey: ExactString(id)) else { return }
        session.expiry.cancel()
        await session.client.close()
        await session.expiry.value
    }

    /// Closes all sessions, and opens no more.
    func closeAll() async {
        isClosed = true
        await withTaskGroup(of: Void.self) { group in
            for id in sessions.keys { group.addTask { await self.close(id.string) } }
        }
    }
}
