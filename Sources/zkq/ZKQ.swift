import ArgumentParser

/// The command-line tool. stdout carries results alone, stderr the rest.
@main
struct ZKQ: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "zkq",
        abstract: "A highly available message queue in Apache ZooKeeper.",
        subcommands: [
            Dev.self, Put.self, Take.self, Peek.self, Stats.self, Dead.self, Purge.self, Recover.self, Bound.self,
            Doctor.self, GatewayCommand.self,
        ])
}
