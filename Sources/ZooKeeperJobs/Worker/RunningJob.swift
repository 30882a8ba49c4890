import ZooKeeper
public import ZooKeeperQueue

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A job that a worker runs now.
public struct RunningJob: Sendable, Hashable {
    /// The job's ID.
    public let id: String
    /// The job's name, as it is stored.
    public let name: String
    /// The number of the attempt, from 1 on.
    public let attempt: Int
    /// When the attempt began, by the ensemble's clock.
    public let startedAt: EnsembleTime
    /// The last ``JobContext/progress(_:)``, 0…1. `nil` when the handler has not reported any.
    public let progress: Double?

    /// What does not vary with the clock.
    struct Key: Hashable {
        let id: String
        let attempt: Int
        let progress: Double?
    }
    var key: Key { Key(id: id, attempt: attempt, progress: progress) }
}

/// The form in the tree: JSON, with the start in milliseconds since 1970.
extension RunningJob: Codable {
    private enum CodingKeys: String, CodingKey { case id, name, attempt, startedAt, progress }

    /// Reads a job.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        id = try container.decode(String.self, forKey: .id)
        name = try container.decode(String.self, forKey: .name)
        attempt = try container.decode(Int.self, forKey: .attempt)
        startedAt = EnsembleTime(millisecondsSince1970: try container.decode(Int64.self, forKey: .startedAt))
        progress = try container.decodeIfPresent(Double.self, forKey: .progress)
    }

    /// Writes a job.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode(name, forKey: .name)
        try container.encode(attempt, forKey: .attempt)
        try container.encode(startedAt.millisecondsSince1970, forKey: .startedAt)
        try container.encodeIfPresent(progress, forKey: .progress)
    }
}

extension JobQueue {
    /// Returns the jobs that workers run now, and their progress. A worker reports its jobs with a delay of about a
    /// second, and at most a thousand of them.
    ///
    /// - Throws: `QueueError`.
    public func runningJobs() async throws -> [RunningJob] {
        try await translating("reading the running jobs") {
            do {
                let names = try await queue.store.children(of: tree.workers).names
                let nodes = try await queue.store.get(names.map(tree.worker))
                // Data that cannot be read shows no jobs.
                return nodes.flatMap { node in
                    (node?.data).flatMap { try? JSONDecoder().decode([RunningJob].self, from: Data($0)) } ?? []
                }
            } catch let error as ZooKeeperError where error.code == .noNode {
                return []
            }
        }
    }
}
