import Foundation
import Logging
import Subprocess
import SystemPackage
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperServer

/// The program behind `make demo`: a narrated end-to-end run against a real ZooKeeper that it starts.
///
/// One consumer runs in a separate process (`demo consume-slowly HOST:PORT`), because the demo kills it.
@main
struct Demo {
    static func main() async throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.count == 2, arguments[0] == SlowConsumer.command {
            try await SlowConsumer.run(servers: arguments[1])
        } else {
            try await narrate()
        }
    }

    /// Logs nothing, because the demo itself prints what happens.
    private static let quiet = Logger(label: "demo", factory: { _ in SwiftLogNoOpLogHandler() })

    private static func narrate() async throws {
        printLine("Starting a real ZooKeeper server on a free port of this machine …")
        try await LocalEnsemble.withEnsemble(.init(tickTime: .milliseconds(500))) { ensemble in
            printLine("ZooKeeper is listening on \(ensemble.connectString).")
            let configuration = try ZooKeeperConfiguration(servers: ensemble.connectString, sessionTimeout: .seconds(3))
            try await ZooKeeperClient.withClient(configuration: configuration, logger: quiet) { zookeeper in
                let queue = try MessageQueue(zookeeper, path: "/demo", logger: quiet)
                try await shareMessages(queue)
                try await killConsumer(queue, servers: ensemble.connectString)
            }
        }
        printLine("The server is stopped and its data is deleted. Nothing is left behind.")
    }

    // MARK: Two consumers share

    private static func shareMessages(_ queue: MessageQueue) async throws {
        printLine("\n1. A producer sends ten messages. Each send returns when the message is on the server's disk.")
        let producer = QueueProducer(queue)
        for number in 1...10 {
            let receipt = try await producer.send("message \(number)")
            printLine("   producer: \"message \(number)\" is stored as \(receipt.nodeName ?? "?")")
        }
        await producer.close()

        printLine("\n2. Two consumers receive them with `for try await`. Each message goes to one of the two.")
        try await withThrowingTaskGroup(of: Void.self) { group in
            let (settled, settle) = AsyncStream.makeStream(of: Void.self)
            for name in ["Ann", "Bob"] {
                group.addTask {
                    for try await message in QueueConsumer(queue, configuration: .init(prefetch: 2)) {
                        printLine("   \(name): received \(text(message)), and acknowledges it")
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
        printLine("   The queue is empty: \(try await counts(queue)).")
    }

    // MARK: A consumer is killed

    private static func killConsumer(_ queue: MessageQueue, servers: String) async throws {
        printLine(
            "\n3. A consumer in a separate process receives a message, and is killed (kill -9) while it works on it.")
        let producer = QueueProducer(queue)
        try await producer.send("precious")
        await producer.close()
        _ = try await run(
            .path(FilePath("/proc/self/exe")), arguments: [SlowConsumer.command, servers], input: .none,
            output: .sequence,
            error: .discarded
        ) { execution in
            for try await line in execution.standardOutput.strings() {
                printLine("   Carol (process \(execution.processIdentifier)): \(line)")
                break
            }
            printLine("   The message is leased, so no other consumer can claim it: \(try await counts(queue)).")
            printLine("   kill -9 \(execution.processIdentifier)")
            try execution.send(signal: .kill)
        }

        printLine(
            "\n4. A recovery requeues the messages of failed consumers. Carol counts as failed when her session ends (3 seconds)."
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            let recovery = QueueRecovery(queue, configuration: .init(interval: .milliseconds(500)))
            group.addTask { try await recovery.run() }
            let start = ContinuousClock.now
            for try await message in QueueConsumer(queue) {
                let seconds = Int((ContinuousClock.now - start) / .seconds(1))
                printLine(
                    "   Dave: received \(text(message)) after \(seconds) seconds, delivery number \(message.deliveryCount)"
                )
                try await message.acknowledge()
                break
            }
            group.cancelAll()
        }
        printLine(
            "   No message was lost, and no two consumers held it at the same time: \(try await counts(queue)).\n")
    }

    // MARK: Output

    private static func counts(_ queue: MessageQueue) async throws -> String {
        let statistics = try await queue.statistics()
        return
            "\(statistics.ready) ready, \(statistics.leased) leased, \(statistics.recovering + statistics.deadLettered) elsewhere"
    }

    private static func text(_ message: QueueMessage) -> String {
        "\"\(String(decoding: message.payload, as: UTF8.self))\""
    }

    static func printLine(_ text: String) { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }
}

/// Receives one message, and works on it until the process is killed.
enum SlowConsumer {
    static let command = "consume-slowly"

    static func run(servers: String) async throws {
        let configuration = try ZooKeeperConfiguration(servers: servers, sessionTimeout: .seconds(3))
        try await ZooKeeperClient.withClient(configuration: configuration) { zookeeper in
            for try await message in QueueConsumer(try MessageQueue(zookeeper, path: "/demo")) {
                Demo.printLine(
                    "I received \"\(String(decoding: message.payload, as: UTF8.self))\", and work on it for a minute …")
                // Stands for the work, which the process does not survive.
                try await Task.sleep(for: .seconds(60))
                try await message.acknowledge()
            }
        }
    }
}
