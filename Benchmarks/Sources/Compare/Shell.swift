import Foundation
import Subprocess
import SystemPackage

/// The figures that a load program reports for one phase of its work.
struct Figures: Codable, Sendable {
    var phase: String
    var messages: Int
    var seconds: Double?
    var p50: Double?
    var p99: Double?
    var requests: [String: Int]?
    var memory: Int?
    var notes: [String: Double]?

    /// Messages a second.
    var rate: Double { Double(messages) / (seconds ?? .nan) }
}

struct Failure: Error, CustomStringConvertible { let description: String }

/// Runs programs to their end.
enum Shell {
    /// The folder of the programs that were built with this one.
    static let programs = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent().path

    static func isThere(_ paths: String...) -> Bool { paths.allSatisfy { FileManager.default.fileExists(atPath: $0) } }

    /// Runs a load program and decodes its lines of JSON.
    static func figures(_ program: String, _ arguments: [String]) async throws -> [Figures] {
        let result = try await run(
            program.contains("/") ? .path(FilePath(program)) : .name(program), arguments: Arguments(arguments),
            output: .string(limit: 1 << 20), error: .string(limit: 1 << 20))
        guard result.terminationStatus.isSuccess else {
            throw Failure(description: "\(program) \(arguments): \(result.standardError)")
        }
        return try result.standardOutput.split(separator: "\n").map {
            try JSONDecoder().decode(Figures.self, from: Data($0.utf8))
        }
    }

    static func call(_ program: String, _ arguments: [String]) async throws {
        _ = try await figures(program, arguments)
    }
}
