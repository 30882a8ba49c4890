import Foundation
import Glibc
import Subprocess

/// A broker's server in a child process.
enum Broker {
    static func withBroker<Result: Sendable>(
        _ command: [String], port: Int, _ body: @Sendable @escaping () async throws -> Result
    ) async throws -> Result {
        var options = PlatformOptions()
        // The broker starts a process session, because all of its child processes must end with it.
        options.createSession = true
        options.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: .seconds(15))]
        let result = try await run(
            .name(command[0]), arguments: Arguments(Array(command.dropFirst())), platformOptions: options,
            input: .none,
            output: .discarded, error: .discarded
        ) { execution in
            defer { kill(-execution.processIdentifier.value, SIGTERM) }
            try await untilListening(port)
            return try await body()
        }
        return result.closureResult
    }

    /// Waits until the broker listens. Polls, because no event announces that another process is ready.
    private static func untilListening(_ port: Int) async throws {
        for _ in 0..<600 {
            let isListening = (try? await Shell.call("bash", ["-c", "exec 3<>/dev/tcp/127.0.0.1/\(port)"])) != nil
            if isListening {
                // A broker may listen before it serves, and no event announces when it does.
                try await Task.sleep(for: .seconds(3))
                return
            }
            // Pauses between two polls, because there is no event to wait for.
            try await Task.sleep(for: .milliseconds(100))
        }
        throw Failure(description: "No broker listens at port \(port).")
    }
}
