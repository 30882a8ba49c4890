import ZooKeeperServer

/// The C client's floor and this package's queue, measured on a running server.
enum Ours {
    static let floor = "C client, 64 in a multi"
    static let single = "C client, one by one"
    static let plain = "zookeeper-queue"
    static let batched = "zookeeper-queue, 64 in a node"

    static func floor(_ work: Work, _ servers: String, batch: Int) async throws -> [Figures] {
        try await Shell.figures(
            Shell.programs + "/floor", [servers, "\(work.messages)", "\(work.bytes)", "\(batch)", "256"])
    }

    /// Measures single requests, each awaited before the next, and the round trips of a hand-off, one after the other.
    static func floorOfOnes(_ work: Work, _ servers: String) async throws -> [Figures] {
        let ones = try await Shell.figures(
            Shell.programs + "/floor", [servers, "\(work.ones)", "\(work.bytes)", "1", "1"])
        let handoff = try await Shell.figures(
            Shell.programs + "/floor", [servers, "\(work.ones)", "\(work.bytes)", "handoff"])
        return handoff
            + ones.map { figures in
                var figures = figures
                figures.phase += "-one"
                return figures
            }
    }

    static func queue(
        _ work: Work, _ servers: String, _ phases: [String], path: String = "/load", perNode: Int = 1,
        options: [String] = []
    ) async throws -> [Figures] {
        try await Shell.figures(
            Shell.programs + "/queue-load",
            [
                "--servers", servers, "--queue", path, "--messages", "\(work.messages)", "--ones", "\(work.ones)",
                "--bytes", "\(work.bytes)", "--per-node", "\(perNode)",
            ] + options + ["--phases"] + phases)
    }
}
