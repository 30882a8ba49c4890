public import Logging

/// Logs each job when it has been handled, with the time that this took. The worker itself logs failures.
public struct LoggingMiddleware: JobMiddleware {
    private let level: Logger.Level

    /// Creates the middleware.
    ///
    /// - Parameter level: the level of the messages. Default: info.
    public init(level: Logger.Level = .info) { self.level = level }

    /// Runs the job, and logs its end.
    public func run(_ context: JobContext, next: @Sendable (JobContext) async throws -> Void) async throws {
        let start = ContinuousClock.now
        do {
            try await next(context)
        } catch {
            log("Job failed", context, start)
            throw error
        }
        log("Job handled", context, start)
    }

    private func log(_ text: Logger.Message, _ context: JobContext, _ start: ContinuousClock.Instant) {
        let milliseconds = Int(start.duration(to: .now) / .milliseconds(1))
        context.logger.log(level: level, text, metadata: ["milliseconds": "\(milliseconds)"])
    }
}
