import ArgumentParser
import Foundation
import Glibc
import Logging
import QueueHistory
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperServer

/// A producer, a consumer or a recovery in a separate process. A producer and a consumer record a history.
struct Worker: AsyncParsableCommand {
    static let configuration = CommandConfiguration(shouldDisplay: false)

    enum Role: String, ExpressibleByArgument, CaseIterable, Sendable { case producer, consumer, recovery }

    @Option var role: Role
    @Option var name: String
    @Option var servers: String
    @Option var history: String
    @Option var sessionTimeout: Int
    @Option var transport: WorkerTransport
    /// The folder of the certificates for encrypted connections.
    @Option var certificates: String?
    /// The number of messages that a producer sends.
    @Option var count = Int.max
    /// The pause of a producer's task after each message, in milliseconds.
    @Option var rest = 0
    /// Whether a producer sends some messages with a delay.
    @Flag var delays = false
    /// The number of concurrent tasks.
    @Option var concurrency = 1

    /// The threshold is so low that the sequence numbers roll over several times in a run.
    static let attributes = QueueAttributes(deduplicationWindow: .seconds(20), sequenceRolloverThreshold: 3_000)

    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        endWithParent()
        let log = try HistoryFile(path: history, process: name)
        let configuration = try ZooKeeperConfiguration(
            servers: servers, transport: transport.transport(certificates.map { LocalCertificates(in: $0) }),
            followsReconfiguration: transport != .tls, sessionTimeout: .milliseconds(sessionTimeout),
            requestTimeout: .seconds(20))
        var logger = Logger(label: name)
        logger.logLevel = .error
        let (role, workerLogger) = (role, logger)
        try await untilTerminated {
            try await ZooKeeperClient.withClient(configuration: configuration, logger: workerLogger) { client in
                let queue = try MessageQueue(client, logger: workerLogger).creating(with: Self.attributes)
                switch role {
                case .producer: try await produce(QueueProducer(queue), log)
                case .consumer: try await consume(QueueConsumer(queue), log)
                case .recovery:
                    try await QueueRecovery(
                        queue, configuration: .init(interval: .seconds(2), producerStateRetention: .seconds(20))
                    ).run()
                }
            }
        }
    }

    /// Exits when the runner has exited, because that closes the runner's end of the pipe.
    private func endWithParent() {
        Thread.detachNewThread {
            var byte: UInt8 = 0
            while read(0, &byte, 1) != 0 {}
            _exit(1)
        }
    }

    /// Runs `body`, and cancels it when SIGTERM arrives.
    private func untilTerminated(_ body: @escaping @Sendable () async throws -> Void) async throws {
        signal(SIGTERM, SIG_IGN)
        let task = Task { try await body() }
        let source = DispatchSource.makeSignalSource(signal: SIGTERM, queue: .global())
        source.setEventHandler { task.cancel() }
        source.resume()
        do { try await task.value } catch is CancellationError {}
        source.cancel()
    }

    // MARK: Roles

    private func produce(_ producer: QueueProducer, _ log: HistoryFile) async throws {
        let (count, rest, name, concurrency, delays) = (count, rest, name, concurrency, delays)
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<concurrency {
                group.addTask {
                    for number in stride(from: task, to: count, by: concurrency) {
                        if Task.isCancelled { break }
                        let digits = String(number)
                        let message = name + "-" + String(repeating: "0", count: max(0, 7 - digits.count)) + digits
                        log.write(.sending, message)
                        // Every fourth message has an id, and some have an expiry, which must make no difference.
                        let outgoing = OutgoingMessage(
                            message, id: number % 4 == 0 ? message : nil,
                            delay: delays ? Self.delay(of: message) : .zero,
                            expiresAfter: number % 10 == 3 ? .seconds(3_600) : nil, group: Self.group(of: message))
                        await Self.send(outgoing, producer, log)
                        // Limits the rate of the task.
                        if rest > 0 { try? await Task.sleep(for: .milliseconds(rest)) }
                    }
                }
            }
        }
        await producer.close()
    }

    /// The delay of a message, which follows from its name: every tenth message waits for up to four seconds.
    static func delay(of message: String) -> Duration {
        guard let digits = message.split(separator: "-").last, let number = Int(digits), number % 10 == 7 else {
            return .zero
        }
        return .milliseconds(number / 10 % 5 * 1_000 + 1)
    }

    /// The key of a message's group, which follows from its name: a quarter of the messages belong to 16 groups of each
    /// producer. A task sends all messages of a group, one after the other, because 64 is a multiple of the number of
    /// tasks.
    static func group(of message: String) -> String? {
        guard let digits = message.split(separator: "-").last, let number = Int(digits), number % 64 < 16,
            delay(of: message) == .zero
        else { return nil }
        return "\(message.dropLast(digits.count))\(number % 64)"
    }

    private static func send(_ outgoing: OutgoingMessage, _ producer: QueueProducer, _ log: HistoryFile) async {
        let message = String(decoding: outgoing.payload, as: UTF8.self)
        var unresolved: UnresolvedSend?
        while true {
            do {
                if let unresolved {
                    try await producer.resume(unresolved)
                } else {
                    try await producer.send(outgoing)
                }
                return log.write(.sent, message)
            } catch let error as QueueError where error.code == .timedOut {
                // The message is not stored, so it is sent again.
                unresolved = nil
            } catch let error as QueueError where error.unresolvedSend != nil {
                unresolved = error.unresolvedSend
            } catch {
                return log.write(.sendUnknown, message)
            }
        }
    }

    private func consume(_ consumer: QueueConsumer, _ log: HistoryFile) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<concurrency {
                group.addTask {
                    var handled = 0
                    for try await message in consumer {
                        handled += 1
                        await Self.handle(message, isRequeued: handled % 211 == 0, log)
                    }
                }
            }
            try await group.waitForAll()
        }
        await consumer.close(gracePeriod: .seconds(1))
    }

    private static func handle(_ message: QueueMessage, isRequeued: Bool, _ log: HistoryFile) async {
        log.write(.delivered, message)
        if isRequeued {
            // Every second one with a delay.
            let delay = Duration.milliseconds(message.fencingToken % 2 * 1_500)
            let isDone = (try? await message.requeue(after: delay, reason: "every 211th")) != nil
            return log.write(isDone ? .requeued : .requeueUnknown, message)
        }
        log.write(.acknowledging, message)
        await acknowledge(message, log)
    }

    private static func acknowledge(_ message: QueueMessage, _ log: HistoryFile) async {
        for _ in 0..<5 {
            do {
                try await message.acknowledge()
                return log.write(.acknowledged, message)
            } catch let error as QueueError where error.code == .leaseLost {
                // This outcome is certain, even if an earlier attempt had an unknown one.
                return log.write(.leaseLost, message)
            } catch {
                // The acknowledgement was not applied, or its outcome is unknown, so it is repeated.
            }
        }
        log.write(.acknowledgeUnknown, message)
    }
}
