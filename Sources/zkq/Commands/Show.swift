import ArgumentParser
import ZooKeeperQueue

struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print one message, and where it is.",
        discussion: """
            The first line is the name. The place is ready, delayed, leased, partial (a recovery will redeliver it), \
            waiting (for earlier messages of its group), dead, or finished: a message with this ID was sent within the \
            deduplication window, and is not in the queue any more.
            """)

    @OptionGroup var options: QueueOptions
    @OptionGroup var selection: MessageSelection

    @Flag(help: "Print one line of JSON.")
    var json = false

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue(createIfMissing: false) { queue in
                switch try await selection.lookup(in: queue) {
                case .found(let message): try print(message)
                case .finished: try StandardOutput.line(json ? #"{"place":"finished"}"# : "place      finished")
                case .unknown:
                    throw ToolError("There is no such message in \(queue.path). It may be acknowledged.")
                }
            }
        }
    }

    private func print(_ message: MessageStatus) throws {
        if json { return try StandardOutput.line(MessageLine(message).json()) }
        try StandardOutput.line("name       \(message.nodeName)")
        try StandardOutput.line("place      \(Self.text(message.place))")
        try StandardOutput.line("priority   \(message.priority)")
        try StandardOutput.line("redelivered \(message.redeliveries)")
        try StandardOutput.line("id         \(message.id ?? "-")")
        try StandardOutput.line("group      \(message.group ?? "-")")
        try StandardOutput.line("expires    \(message.expiresAt.map { Times.iso8601($0) } ?? "-")")
        for failure in message.failures {
            try StandardOutput.line(
                "failure    \(Times.iso8601(failure.failedAt)) \(failure.consumer): \(failure.reason)")
        }
        try StandardOutput.line(Array("payload    ".utf8) + message.payload)
    }

    private static func text(_ place: MessageStatus.Place) -> String {
        switch place {
        case .ready: "ready"
        case .delayed(let due): "delayed until \(Times.iso8601(due))"
        case .leased(let consumer, let since): "leased by \(consumer) since \(Times.iso8601(since))"
        case .recovering: "partial"
        case .waiting: "waiting"
        case .deadLettered(let reason, let time): "dead since \(Times.iso8601(time)): \(reason)"
        }
    }
}

struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Delete one message, wherever it is, and forget its ID.",
        discussion: """
            A consumer that holds the message loses its lease. It notices that when it settles the message, or within a \
            third of the lease timeout, and cancels the handler. Until then, it may hand out a message in its buffer.
            """)

    @OptionGroup var options: QueueOptions
    @OptionGroup var selection: MessageSelection

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue(createIfMissing: false) { queue in
                let message =
                    if let id = selection.id {
                        try await queue.cancelMessage(id: id)
                    } else {
                        try await queue.cancelMessage(nodeName: selection.nodeName ?? "")
                    }
                try StandardOutput.line(message.nodeName)
            }
        }
    }
}

struct Move: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Move a ready or delayed message to another priority, and print its new name.")

    @OptionGroup var options: QueueOptions

    @Argument(help: ArgumentHelp("The name of the message.", valueName: "node-name"))
    var nodeName: String

    @Option(help: "The new priority, 0…999. A lower number is delivered first.")
    var priority: Int

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue(createIfMissing: false) { queue in
                if let name = try await queue.moveMessage(nodeName: nodeName, toPriority: priority) {
                    try StandardOutput.line(name)
                }
            }
        }
    }
}

/// The message on which a command acts.
struct MessageSelection: ParsableArguments {
    @Argument(help: ArgumentHelp("The name of the message, as \"put\" and the lists print it.", valueName: "node-name"))
    var nodeName: String?

    @Option(help: "The ID of the message, in place of its name.")
    var id: String?

    func validate() throws {
        guard (nodeName == nil) != (id == nil) else {
            throw ValidationError("Pass either the name of a message, or --id.")
        }
    }

    func lookup(in queue: MessageQueue) async throws -> MessageLookup {
        if let id { return try await queue.message(id: id) }
        return try await queue.message(nodeName: nodeName ?? "").map { .found($0) } ?? .unknown
    }
}
