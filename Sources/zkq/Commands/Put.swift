import ArgumentParser
import ZooKeeperQueue

struct Put: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Store messages, and print the name of each one when it is stored.",
        discussion: """
            Prints "-" for a stored message when the reply with its name was lost. A delayed message becomes ready when \
            its time has come and a recovery runs. It then gets another name. So does a message that had to wait for \
            its group.
            """)

    @OptionGroup var options: QueueOptions

    @Option(parsing: .unconditional, help: "The priority of the messages: 0…999. A lower number is delivered first.")
    var priority = 100

    @Option(
        name: .customLong("header"),
        help: ArgumentHelp("A header of each message. Can be repeated.", valueName: "name=value"))
    var headers: [String] = []

    @Option(
        help: "The deduplication ID of the message. If a message with this ID is already stored, prints \"duplicate\".")
    var id: String?

    @Option(
        help: ArgumentHelp(
            """
            The key of the group to which the messages belong. The messages of a group are delivered one at a time, in \
            the order in which they were stored. Cannot be combined with --delay or --at.
            """, valueName: "key"))
    var group: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Hold each message back for this time, such as 500ms, 10s, 5m, 2h or 3d. Without a unit: seconds.",
            valueName: "delay"),
        transform: Times.delay)
    var delay: Duration?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            """
            Hold each message back until this time by the ensemble's clock: an ISO 8601 time with its time zone, such \
            as 2026-12-24T18:00:00Z, or milliseconds since 1970. A time that has passed means now.
            """, valueName: "time"),
        transform: Times.moment)
    var at: EnsembleTime?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            """
            Let each message expire after this time, in the form of --delay. An expired message is not delivered: it \
            becomes a dead letter or is deleted, as the queue's attributes say.
            """, valueName: "duration"),
        transform: Times.lifetime)
    var expires: Duration?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Let each message expire at this time by the ensemble's clock, in the form of --at.", valueName: "time"),
        transform: Times.moment)
    var expiresAt: EnsembleTime?

    @Flag(help: "Store each line of stdin as it arrives.")
    var lines = false

    @Flag(help: "Wait for capacity when the queue is full, instead of failing.")
    var waitWhenFull = false

    @Argument(help: "The messages to store.")
    var messages: [String] = []

    func validate() throws {
        guard lines == messages.isEmpty else {
            throw ValidationError("Pass either messages, or --lines to read them from stdin.")
        }
        guard id == nil || messages.count == 1 else {
            throw ValidationError("--id requires exactly one message as an argument.")
        }
        guard delay == nil || at == nil else { throw ValidationError("Pass either --delay or --at, not both.") }
        guard group == nil || delay == nil && at == nil else {
            throw ValidationError("A message of a group cannot be delayed. Pass either --group, or --delay or --at.")
        }
        guard expires == nil || expiresAt == nil else {
            throw ValidationError("Pass either --expires or --expires-at, not both.")
        }
        if let expires, let delay, expires <= delay { throw Self.expiresTooEarly }
        if let expiresAt, let at, expiresAt <= at { throw Self.expiresTooEarly }
        try check("--priority", priority, from: 0, to: 999)
        if let header = headers.first(where: { !$0.contains("=") || $0.hasPrefix("=") }) {
            throw ValidationError("A header must have the form NAME=VALUE, not \"\(header)\".")
        }
    }

    private static let expiresTooEarly = ValidationError(
        "The message would expire before it is delivered. Let it expire later.")

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue { queue in
                let producer = QueueProducer(queue, configuration: .init(whenFull: waitWhenFull ? .wait : .fail))
                do {
                    try await store(with: producer)
                    await producer.close()
                } catch {
                    await producer.close()
                    throw error
                }
            }
        }
    }

    private func store(with producer: QueueProducer) async throws {
        guard lines else { return try await store(messages.map { Array($0.utf8) }, with: producer) }
        let reader = LineReader(limit: producer.maximumPayloadSize)
        while let lines = try await reader.next() { try await store(lines, with: producer) }
    }

    private func store(_ payloads: [[UInt8]], with producer: QueueProducer) async throws {
        let headers = Dictionary(
            headers.map { header in
                let parts = header.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return (String(parts[0]), String(parts[1]))
            }, uniquingKeysWith: { $1 })
        let messages = payloads.map { payload in
            OutgoingMessage(
                payload, priority: priority, headers: headers, id: id, delay: delay ?? .zero, deliverAt: at,
                expiresAfter: expires, expiresAt: expiresAt, group: group)
        }
        do {
            for receipt in try await producer.send(contentsOf: messages) {
                try StandardOutput.line(receipt.isDuplicate ? "duplicate" : receipt.nodeName ?? "-")
            }
        } catch let error as QueueError where messages.count > 1 && error.code == .payloadTooLarge {
            // One message is too large, so nothing was sent. The messages before it are
            // stored nevertheless, one by one.
            for message in messages { try StandardOutput.line(try await producer.send(message).nodeName ?? "-") }
        }
    }
}
