import ZooKeeperQueue

/// For the test kit and the tools.
extension JobQueue {
    /// Returns a job's name and ID; `nil` for a message that is not a job.
    package static func describe(_ headers: [String: String]) -> (name: String, id: String)? {
        StoredJob(headers).map { ($0.name, $0.id) }
    }

    /// Decodes a job and returns it with its ID; `nil` for another type of job.
    package func decode<J: Job>(
        _ type: J.Type, _ payload: [UInt8], _ headers: [String: String]
    ) throws -> (J, String)? {
        guard let job = StoredJob(headers), ([J.name] + J.formerNames).contains(job.name) else { return nil }
        return (try J.decode(JobPayload(version: job.version, bytes: payload, coder: coder)), job.id)
    }
}
