import ArgumentParser
import Foundation
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperServer

/// Measures a gateway under load against the library without a gateway. Both do the same work on one server, in turns,
/// round after round. The table also shows the gateway's memory after each round.
@main
struct GatewayLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "gateway-load")

    @Option(help: "The number of kept-alive connections, and of the library's tasks.")
    var connections = 200

    @Option(help: "The duration of each kind of work, in seconds.")
    var seconds = 5

    @Option(help: "The number of rounds, each with all kinds of work.")
    var rounds = 5

    @Option(help: "The length of each message in bytes.")
    var bytes = 100

    @Option(help: "The folder of zkq.")
    var tools: String

    @Option(help: "A file for the table, which is also printed.")
    var output: String?

    func run() async throws {
        try await LocalEnsemble.withEnsemble { ensemble in
            let table = try await GatewayProcess.withGateway("\(tools)/zkq", servers: ensemble.connectString) {
                gateway in
                try await measure(gateway, servers: ensemble.connectString)
            }
            if let output { try Data(table.utf8).write(to: URL(fileURLWithPath: output)) }
        }
    }

    private func measure(_ gateway: GatewayProcess, servers: String) async throws -> String {
        var lines = [
            "| round | put, library | put, HTTP | ratio | take, library | take, HTTP | ratio | the gateway's memory, MB |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines.forEach { print($0) }
        let http = LoadConnections(port: gateway.port, count: connections, duration: .seconds(seconds))
        for round in 1...rounds {
            // A new client for each round, like a process that comes and goes.
            try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { zookeeper in
                let library = LibraryLoad(
                    queue: try MessageQueue(zookeeper, path: "/library"), tasks: connections,
                    duration: .seconds(seconds))
                let queue = try MessageQueue(zookeeper, path: "/http")
                let payload = [UInt8](repeating: UInt8(ascii: "x"), count: bytes)
                let put = try await library.put(payload)
                let putHTTP = try await http.run { PutScript(payload: payload) }
                let take = try await library.take()
                let takeHTTP = try await http.run { TakeScript() }
                let line = [
                    "\(round)", "\(Int(put))", "\(Int(putHTTP))", Self.ratio(putHTTP, put), "\(Int(take))",
                    "\(Int(takeHTTP))", Self.ratio(takeHTTP, take), "\(try gateway.residentMegabytes())",
                ]
                lines.append("| \(line.joined(separator: " | ")) |")
                print(lines.last ?? "")
                try await library.queue.purge()
                try await queue.purge()
            }
        }
        lines.append("")
        lines.append(
            "Messages a second with \(connections) connections or tasks, \(seconds) s for each kind of work, \(bytes) bytes in a message."
        )
        return lines.joined(separator: "\n") + "\n"
    }

    private static func ratio(_ a: Double, _ b: Double) -> String { b > 0 ? String(format: "%.2f", a / b) : "–" }
}
