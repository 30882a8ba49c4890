import Logging
import ZooKeeper

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The sessions that clients have asked for, each with a session of its own at the ensemble, to which their ephemeral nodes
/// belong. One that gives no sign for as long as its client has said is closed, and its nodes go with it.
actor RestSessions {
    private struct Session {
        let client: ZooKeeperClient
        let patience: Duration
        var end: ContinuousClock.Instant
        /// Closes the session when its time is over.
        let watch: Task<Void, Never>
        /// The number of its newest write, of those that are numbered.
        var newestWrite = 0
    }

    private let configuration: ZooKeeperConfiguration
    private let maximum: Int
    private let logger: Logger
    /// By their names.
    private var sessions: [ExactString: Session] = [:]
    /// Sessions that are being opened.
    private var opening = 0
    private var isClosed = false

    init(_ configuration: ZooKeeperConfiguration, maximum: Int, logger: Logger) {
        self.configuration = configuration
        self.maximum = maximum
        self.logger = logger
    }

    var count: Int { sessions.count }

    /// Opens a session; returns when the ensemble has it.
    ///
    /// - Returns: its name; `nil` when there are too many.
    func open(patience: Duration, within limit: Duration) async throws -> String? {
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
        // Version 4: random, so that nobody guesses it.
        let id = UUID().uuidString.lowercased()
        let watch = Task {
            while let rest = timeLeft(id) {
                // How long a session lives is a length of time.
                if rest <= .zero { return await expire(id) }
                try? await Task.sleep(for: rest)
                if Task.isCancelled { return }
            }
        }
        sessions[ExactString(id)] = Session(client: client, patience: patience, end: .now + patience, watch: watch)
        return id
    }

    private func timeLeft(_ id: String) -> Duration? {
        sessions[ExactString(id)].map { ContinuousClock.now.duration(to: $0.end) }
    }

    private func expire(_ id: String) async {
        logger.debug("A session has ended without a sign")
        await sessions.removeValue(forKey: ExactString(id))?.client.close()
    }

    /// One whose session at the ensemble has expired has ended too: its nodes are gone.
    private func prune(_ id: String) async {
        if sessions[ExactString(id)]?.client.sessionState.expirations ?? 0 > 0 { await close(id) }
    }

    func client(of id: String) async -> ZooKeeperClient? {
        await prune(id)
        return sessions[ExactString(id)]?.client
    }

    /// A sign of life.
    ///
    /// - Returns: whether there is such a session.
    func touch(_ id: String) async -> Bool {
        await prune(id)
        guard let session = sessions[ExactString(id)] else { return false }
        sessions[ExactString(id)]?.end = .now + session.patience
        return true
    }

    /// Begins a write, unless a newer one has begun: whoever has sent that one has given this one up, and may have told that to
    /// others. What begins at once is sent in the order in which it begins.
    func begin<Result: Sendable>(
        _ id: String, number: Int, _ write: @escaping @Sendable (ZooKeeperClient) async throws -> Result
    ) throws -> Task<Result, any Error> {
        guard let session = sessions[ExactString(id)] else {
            throw ZooKeeperError(
                code: .unknownSession, message: "There is no such session.", path: nil, outcome: .notApplied)
        }
        guard number > session.newestWrite else {
            throw ZooKeeperError(
                code: .invalidArgument, message: "A newer write of the session was here before.", path: nil,
                outcome: .notApplied)
        }
        sessions[ExactString(id)]?.newestWrite = number
        return Task.immediate { try await write(session.client) }
    }

    func close(_ id: String) async {
        guard let session = sessions.removeValue(forKey: ExactString(id)) else { return }
        session.watch.cancel()
        await session.client.close()
        await session.watch.value
    }

    /// The end: closes all, and opens no more.
    func closeAll() async {
        isClosed = true
        await withTaskGroup(of: Void.self) { group in
            for id in sessions.keys { group.addTask { await self.close(id.string) } }
        }
    }
}
