import Foundation
import LoadSupport
import Subprocess
import SystemPackage

/// A gateway in a separate process, whose memory can be measured.
struct GatewayProcess: Sendable {
    let port: Int
    let pid: Int32

    static func withGateway<Result: Sendable>(
        _ zkq: String, servers: String, _ body: @escaping @Sendable (GatewayProcess) async throws -> Result
    ) async throws -> Result {
        let outcome = try await Subprocess.run(
            .path(FilePath(zkq)), arguments: ["gateway", "--listen", "127.0.0.1:0", "--connect", servers],
            input: .none, output: .sequence, error: .discarded
        ) { execution -> Result in
            let pid = execution.processIdentifier.value
            defer { kill(pid, SIGTERM) }
            for try await line in execution.standardOutput.strings() {
                guard let port = line.split(separator: ":").last.flatMap({ Int($0.prefix { $0.isNumber }) }) else {
                    continue
                }
                return try await body(GatewayProcess(port: port, pid: pid))
            }
            throw LoadError(description: "The gateway did not start.")
        }
        return outcome.closureResult
    }

    func residentMegabytes() throws -> Int {
        // The second number is the resident set in pages, of 4 KiB here.
        let text = try String(contentsOfFile: "/proc/\(pid)/statm", encoding: .utf8)
        return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4 / 1_024
    }
}
