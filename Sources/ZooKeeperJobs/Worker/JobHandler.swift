import ZooKeeperQueue

/// The handler of one type of job, without the type.
struct JobHandler: Sendable {
    let name: String
    let version: Int
    let retry: RetryPolicy?
    let timeout: Duration?
    let maximumAttempts: Int?
    let concurrency: Int?
    /// Decodes a job, and returns its handler.
    let prepare: @Sendable (JobPayload) throws -> @Sendable (JobContext) async throws -> Void

    func validate() throws {
        try retry?.validate()
        let isValid = (timeout ?? .seconds(1)) > .zero && (maximumAttempts ?? 1) >= 1 && (concurrency ?? 1) >= 1
        guard JobName.isValid(name), version >= 1, isValid else {
            throw JobError(
                .invalidWorker,
                "The handler of the job \(name) has an invalid name, version, timeout, concurrency or number of "
                    + "attempts. All numbers must be more than zero.")
        }
    }
}
