import ArgumentParser

/// How a run ended, from good to bad.
enum Verdict: Int, Comparable, Sendable {
    case kept
    /// A promise was broken, and the servers have lost acknowledged writes or disagree: the run says nothing of the queue.
    case serversFailed
    case broken

    init(_ isKept: Bool, serversFailed: Bool) {
        self = isKept ? .kept : serversFailed ? .serversFailed : .broken
    }

    static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// Ends the command: with 1 where the queue has failed, and with 3 where the servers have.
    func exit() throws {
        switch self {
        case .kept: break
        case .serversFailed: throw ExitCode(3)
        case .broken: throw ExitCode.failure
        }
    }
}
