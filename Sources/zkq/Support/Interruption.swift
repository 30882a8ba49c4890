import ArgumentParser
import Dispatch
import Glibc
import Synchronization

/// Runs `body`, and asks it to end at SIGINT, SIGTERM or SIGHUP.
///
/// A second signal ends the process at once. The process also ends when the body has not ended five seconds after its
/// grace period. In both cases, the messages that it holds are redelivered once its session has ended and a recovery
/// runs. A closed pipe is an error of the write, not a signal. SIGHUP stays ignored where `nohup` has set that.
///
/// - Parameters:
///   - isNormalEnd: whether a signal is the normal end of the command, with exit code 0.
///   - gracePeriod: how long the body may take to finish its work. Default: none.
///   - stop: asks the body to end. By default, its task is cancelled.
/// - Throws: the errors of `body`; after a signal an `ExitCode`, as a shell expects it, unless `isNormalEnd`.
func withInterruption(
    isNormalEnd: Bool = false, gracePeriod: Duration = .zero, stop: (@Sendable () async -> Void)? = nil,
    _ body: @escaping @Sendable () async throws -> Void
) async throws {
    signal(SIGPIPE, SIG_IGN)
    let (signals, continuation) = AsyncStream<Int32>.makeStream()
    let handler = SignalHandler(within: gracePeriod + .seconds(5)) { continuation.yield($0) }
    var sources: [any DispatchSourceSignal] = []
    for number in [SIGINT, SIGTERM, SIGHUP] where number != SIGHUP || !isIgnored(number) {
        sources.append(await handler.trap(number))
    }
    defer { for source in sources { source.cancel() } }
    let interruption = try await withThrowingTaskGroup(of: Int32?.self) { group in
        group.addTask {
            do {
                try await body()
            } catch is CancellationError {}
            return nil
        }
        group.addTask {
            for await signal in signals { return signal }
            return nil
        }
        let first = try await group.next() ?? nil
        if first != nil, let stop { await stop() } else { group.cancelAll() }
        // The body ends in order and requeues its messages.
        try await group.waitForAll()
        return first
    }
    if let interruption, !isNormalEnd { throw ExitCode(128 + interruption) }
}

private func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    sigaction(number, nil, &action)
    // Handlers are C functions, which can only be compared as addresses.
    return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
}

/// Ends a process that was asked to end. It uses a separate dispatch queue, because every thread that runs tasks may be
/// blocked, for example by a full pipe.
private final class SignalHandler: Sendable {
    private let queue = DispatchQueue(label: "zkq.signals")
    private let hasBegun = Atomic(false)
    private let limit: Duration
    private let begin: @Sendable (Int32) -> Void

    /// - Parameters:
    ///   - limit: how long the process may take to end.
    ///   - begin: receives the first signal.
    init(within limit: Duration, begin: @escaping @Sendable (Int32) -> Void) {
        self.limit = limit
        self.begin = begin
    }

    /// Handles a signal from the moment when this method returns.
    func trap(_ number: Int32) async -> any DispatchSourceSignal {
        let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
        source.setEventHandler { self.received(number) }
        await withCheckedContinuation { continuation in
            source.setRegistrationHandler { continuation.resume() }
            source.resume()
        }
        return source
    }

    private func received(_ number: Int32) {
        if hasBegun.exchange(true, ordering: .relaxed) { _exit(128 + number) }
        begin(number)
        queue.asyncAfter(deadline: .now() + limit / .seconds(1)) {
            // Writes only when that cannot block.
            if StandardStreams.wait(for: POLLOUT, on: STDERR_FILENO, milliseconds: 0) {
                StandardError.line(
                    "zkq: The command did not stop within \(self.limit.components.seconds) seconds. Its messages are "
                        + "redelivered when its session has ended and a recovery runs.")
            }
            _exit(128 + number)
        }
    }
}
