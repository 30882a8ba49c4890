import ArgumentParser

/// The result of a run, from best to worst.
enum Verdict: Int, Comparable, Sendable {
    case kept
    /// A promise was broken, and the servers have lost acknowledged writes or differ: the run proves nothing about the
    /// queue.
    case serversFailed
    case broken

    init(_ isKept: Bool, serversFailed: Bool) {
        self = isKept ? .kept : serversFailed ? .serversFailed : .broken
    }

    static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// Ends the command with status 1 when the queue has failed, and with 3 when the servers have failed.
    func exit() throws {
        switch self {
        case .kept: break
        case .serversFailed: throw ExitCode(3)
        case .broken: throw ExitCode.failure
        }
    }
}
