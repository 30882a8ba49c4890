import ArgumentParser
import Glibc
import UnixSignals

/// Runs `body`, and cancels it on SIGINT and SIGTERM. A closed pipe is an error of the write, not a signal.
///
/// - Throws: what `body` throws; after a signal an `ExitCode`, as a shell expects it, unless `isNormalEnd`.
func withInterruption(isNormalEnd: Bool = false, _ body: @escaping @Sendable () async throws -> Void) async throws {
    signal(SIGPIPE, SIG_IGN)
    let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
    let interruption = try await withThrowingTaskGroup(of: Int32?.self) { group in
        group.addTask {
            do {
                try await body()
            } catch is CancellationError {}
            return nil
        }
        group.addTask {
            for await signal in signals { return signal == .sigint ? SIGINT : SIGTERM }
            return nil
        }
        defer { group.cancelAll() }
        let first = try await group.next() ?? nil
        group.cancelAll()
        // The body ends in order: it gives back what it holds.
        try await group.waitForAll()
        return first
    }
    if let interruption, !isNormalEnd { throw ExitCode(128 + interruption) }
}
