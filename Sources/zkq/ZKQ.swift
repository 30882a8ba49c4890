import ArgumentParser

/// The command-line tool. It writes only results to stdout, and everything else to stderr.
@main
struct ZKQ: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "zkq",
        abstract: "A durable message queue on Apache ZooKeeper.",
        version: "zkq \(Version.full)",
        subcommands: [
            Dev.self, Put.self, Take.self, Peek.self, Show.self, Cancel.self, Move.self, Stats.self, Delayed.self,
            Dead.self, Purge.self, Recover.self, Capacity.self, Pause.self, Resume.self, Drain.self, Consumers.self,
            Release.self, Doctor.self,
            GatewayCommand.self,
        ])

    static func main() async {
        StandardStreams.occupy()
        // The argument parser would silently replace bytes of an argument that is not UTF-8, and the
        // tool would store a different message.
        if let index = firstArgumentThatIsNotUTF8 {
            exit(
                withError: ToolError(
                    "Argument \(index) is not UTF-8. Send binary messages through stdin, with \"put --lines\"."))
        }
        await main(nil)
    }

    private static var firstArgumentThatIsNotUTF8: Int? {
        (1..<max(1, Int(CommandLine.argc))).first { index in
            CommandLine.unsafeArgv[index].map { String(validatingCString: $0) == nil } ?? false
        }
    }
}
