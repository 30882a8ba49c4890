/// Code that runs around every job: for logs, traces, metrics, authentication or a database connection.
///
/// ```swift
/// struct Timing: JobMiddleware {
///     func run(_ context: JobContext, next: @Sendable (JobContext) async throws -> Void) async throws {
///         let start = ContinuousClock.now
///         try await next(context)
///         print(context.name, ContinuousClock.now - start)
///     }
/// }
/// ```
public protocol JobMiddleware: Sendable {
    /// Is called before a job is stored, and may change its headers. By default does nothing.
    ///
    /// - Throws: any error. The job is then not stored, and the push throws this error.
    func willPush(_ job: inout OutgoingJob) async throws
    /// Runs a job, by calling `next`. By default does only that.
    ///
    /// - Throws: the errors of `next`. Any error counts as a failure of the job, which is then retried.
    func run(_ context: JobContext, next: @Sendable (JobContext) async throws -> Void) async throws
}

extension JobMiddleware {
    /// Does nothing.
    public func willPush(_ job: inout OutgoingJob) async throws {}
    /// Calls `next`.
    public func run(_ context: JobContext, next: @Sendable (JobContext) async throws -> Void) async throws {
        try await next(context)
    }
}

/// A job that is about to be stored.
public struct OutgoingJob: Sendable {
    /// The ``Job/name`` of its type.
    public let name: String
    /// Its ID.
    public let id: String
    /// The headers that travel with it, beside those that describe the job.
    public var headers: [String: String]
}
