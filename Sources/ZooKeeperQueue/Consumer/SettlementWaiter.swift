import Synchronization

/// The caller of a settlement. It is told the result once: when the result is known, or when the
/// consumer's time to close is over.
final class SettlementWaiter: Sendable {
    private let resume: Mutex<(@Sendable (Result<Void, any Error>) -> Void)?>

    init(_ resume: @escaping @Sendable (Result<Void, any Error>) -> Void) { self.resume = Mutex(resume) }

    func resume(with result: Result<Void, any Error>) {
        let resume = resume.withLock { resume in
            defer { resume = nil }
            return resume
        }
        resume?(result)
    }
}
