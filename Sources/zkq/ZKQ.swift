import ArgumentParser

/// The command-line tool. It writes only results to stdout, and everything else to stderr.
@main
struct ZKQ: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "zkq",
        abstract: "A highly available message queue in Apache ZooKeeper.",
        version: "zkq \(Version.transactional)",
        subcommands: [
            Dev.self, Put.self, Take.self, Peek.self, Stats.self, Dead.self, Purge.self, Recover.self, Capacity.self,
            Doctor.self, GatewayCommand.self,
        ])

    static func main() async {
        StandardStreams.occupy()
        // The argument parser would silently repair an argument that is not UTF-8, and the
        // tool would store a different message.
        if let index = argumentThatIsNoText {
            exit(
                withError: ToolError(
                    "Argument \(index) is not UTF-8. Send a message that is no text through stdin, with \"put --lines\"."
                ))
        }
        await main(nil)
    }

    private static var argumentThatIsNoText: Int? {
        (1..<max(1, Int(CommandLine.argc))).first { index in
            CommandLine.unsafeArgv[index].map { String(validatingCString: $0) == nil } ?? false
        }
    }
}
