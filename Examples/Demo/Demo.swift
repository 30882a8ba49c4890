import Foundation
import Logging
import Subprocess
import SystemPackage
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperServer

/// The program behind `make demo`: a narrated end-to-end run against a real ZooKeeper that it starts.
///
/// One consumer runs in a separate process (`demo consume-slowly HOST:PORT`), so that it can be killed.
@main
struct Demo {
    static func main() async throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.count == 2, arguments[0] == SlowConsumer.command {
            try await SlowConsumer.run(servers: arguments[1])
        } else {
            try await tell()
        }
    }

    /// Logs nothing, because the demo itself prints what happens.
    private static let quiet = Logger(label: "demo", factory: { _ in SwiftLogNoOpLogHandler() })

    private static func tell() async throws {
        say("Starting a real ZooKeeper server on a free port of this machine …")
        try await LocalEnsemble.withEnsemble(.init(tickTime: .milliseconds(500))) { ensemble in
            say("ZooKeeper answers at \(ensemble.connectString).")
            let configuration = try ZooKeeperConfiguration(servers: ensemble.connectString, sessionTimeout: .seconds(3))
            try await ZooKeeperClient.withClient(configuration: configuration, logger: quiet) { zookeeper in
                let queue = try MessageQueue(zookeeper, path: "/demo", logger: quiet)
                try await deliver(queue)
                try await survive(queue, servers: ensemble.connectString)
            }
        }
        say("The server is stopped and its data deleted. That was all: nothing is left behind.")
    }

    // MARK: Two consumers share

    private static func deliver(_ queue: MessageQueue) async throws {
        say("\n1. A producer stores ten messages; each is on the server's disk before it is told so.")
        let producer = QueueProducer(queue)
        for number in 1...10 {
            let receipt = try await producer.send("message \(number)")
            say("   producer: \"message \(number)\" is stored as \(receipt.nodeName ?? "?")")
        }
        await producer.close()

        say("\n2. Two consumers take them with `for try await`. Each message goes to one of them.")
        try await withThrowingTaskGroup(of: Void.self) { group in
            let (settled, settle) = AsyncStream.makeStream(of: Void.self)
            for name in ["Ann", "Bob"] {
                group.addTask {
                    for try await message in QueueConsumer(queue, configuration: .init(prefetch: 2)) {
                        say("   \(name): took \(text(message)), and acknowledges it")
                        try await message.acknowledge()
                        settle.yield()
                    }
                }
            }
            var count = 0
            for await _ in settled {
                count += 1
                if count == 10 { break }
            }
            group.cancelAll()
            try await group.waitForAll()
        }
        say("   The queue is empty: \(try await counts(queue)).")
    }

    // MARK: A consumer is killed

    private static func survive(_ queue: MessageQueue, servers: String) async throws {
        say("\n3. A consumer in a process of its own takes a message, and is killed (kill -9) while it works on it.")
        let producer = QueueProducer(queue)
        try await producer.send("precious")
        await producer.close()
        _ = try await run(
            .path(FilePath("/proc/self/exe")), arguments: [SlowConsumer.command, servers], input: .none,
            output: .sequence,
            error: .discarded
        ) { execution in
            for try await line in execution.standardOutput.strings() {
                say("   Carol (process \(execution.processIdentifier)): \(line)")
                break
            }
            say("   The message is leased, so nobody else can take it: \(try await counts(queue)).")
            say("   kill -9 \(execution.processIdentifier)")
            try execution.send(signal: .kill)
        }

        say(
            "\n4. A recovery looks for consumers that have failed. ZooKeeper says so when Carol's session ends (3 seconds)."
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            let recovery = QueueRecovery(queue, configuration: .init(interval: .milliseconds(500)))
            group.addTask { try await recovery.run() }
            let start = ContinuousClock.now
            for try await message in QueueConsumer(queue) {
                let seconds = Int((ContinuousClock.now - start) / .seconds(1))
                say("   After \(seconds) seconds Dave gets \(text(message)), delivery number \(message.deliveryCount).")
                try await message.acknowledge()
                break
            }
            group.cancelAll()
        }
        say("   Nothing was lost, and nothing was in two hands: \(try await counts(queue)).\n")
    }

    // MARK: Words

    private static func counts(_ queue: MessageQueue) async throws -> String {
        let statistics = try await queue.statistics()
        return
            "\(statistics.ready) ready, \(statistics.leased) leased, \(statistics.recovering + statistics.deadLettered) elsewhere"
    }

    private static func text(_ message: QueueMessage) -> String {
        "\"\(String(decoding: message.payload, as: UTF8.self))\""
    }

    static func say(_ text: String) { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }
}

/// Takes one message, and works on it for longer than the process will live.
enum SlowConsumer {
    static let command = "consume-slowly"

    static func run(servers: String) async throws {
        let configuration = try ZooKeeperConfiguration(servers: servers, sessionTimeout: .seconds(3))
        try await ZooKeeperClient.withClient(configuration: configuration) { zookeeper in
            for try await message in QueueConsumer(try MessageQueue(zookeeper, path: "/demo")) {
                Demo.say(
                    "I took \"\(String(decoding: message.payload, as: UTF8.self))\", and work on it for a minute …")
                // Stands for the work, which the process does not survive.
                try await Task.sleep(for: .seconds(60))
                try await message.acknowledge()
            }
        }
    }
}
