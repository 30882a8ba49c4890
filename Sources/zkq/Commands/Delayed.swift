import ArgumentParser
import ZooKeeperQueue

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

struct Delayed: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, cancel or deliver the delayed messages.", subcommands: [List.self, Cancel.self, RunNow.self],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the delayed messages in the order in which they become ready.",
            discussion: """
                A line for each message: name, due time, the seconds until then by this machine's clock, priority, \
                delivery count of its next delivery, ID or "-", and payload. A number of seconds far below zero means \
                that no recovery is running.
                """)

        @OptionGroup var options: QueueOptions

        @Option(parsing: .unconditional, help: "The maximum number of messages to print.")
        var limit = 1_000

        @Flag(help: "Print a line of JSON for each message, with its due time in milliseconds since 1970.")
        var json = false

        func validate() throws { try check("--limit", limit, from: 1) }

        func run() async throws {
            try await withInterruption { [self] in
                try await options.withQueue(createIfMissing: false) { queue in
                    for message in try await queue.delayedMessages(limit: limit) {
                        try StandardOutput.line(json ? MessageLine(message).json() : text(message))
                    }
                }
            }
        }

        private func text(_ message: DelayedMessage) -> [UInt8] {
            let due = Double(message.dueAt.millisecondsSince1970) / 1_000
            let columns = [
                message.nodeName, Times.iso8601(message.dueAt), "\(Int(due - Date().timeIntervalSince1970))",
                "\(message.priority)", "\(message.deliveryCount)", message.id ?? "-",
            ]
            return Array((columns.joined(separator: "\t") + "\t").utf8) + message.payload
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Delete delayed messages, and print their number.")

        @OptionGroup var options: QueueOptions
        @OptionGroup var selection: Selection

        func validate() throws {
            guard selection.names.isEmpty == (selection.id != nil) else {
                throw ValidationError("Pass either the names of delayed messages, or --id.")
            }
        }

        func run() async throws {
            try await withInterruption { [self] in
                try await options.withQueue(createIfMissing: false) { queue in
                    let names = try await selection.names(in: queue)
                    for name in names { try await queue.cancelDelayed(name) }
                    try StandardOutput.line("\(names.count)")
                }
            }
        }
    }

    struct RunNow: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "run-now", abstract: "Make delayed messages ready now, and print their number.")

        @OptionGroup var options: QueueOptions
        @OptionGroup var selection: Selection

        @Flag(help: "Make all delayed messages ready.")
        var all = false

        func validate() throws {
            guard [!selection.names.isEmpty, selection.id != nil, all].count(where: { $0 }) == 1 else {
                throw ValidationError("Pass either the names of delayed messages, or --id, or --all.")
            }
        }

        func run() async throws {
            try await withInterruption { [self] in
                try await options.withQueue(createIfMissing: false) { queue in
                    if all { return try StandardOutput.line("\(try await deliverAll(of: queue))") }
                    let names = try await selection.names(in: queue)
                    for name in names { try await queue.deliverNow(name) }
                    try StandardOutput.line("\(names.count)")
                }
            }
        }

        /// How many messages, with their payloads, to list at once.
        private static let pageSize = 1_000

        /// Delivers as many messages as are delayed now. Without this limit, a producer that continues to send could
        /// keep the command from ending.
        private func deliverAll(of queue: MessageQueue) async throws -> Int {
            let progress = Progress("run-now")
            let total = try await queue.statistics().delayed
            var (done, tried) = (0, 0)
            while tried < total {
                let page = try await queue.delayedMessages(limit: min(Self.pageSize, total - tried))
                if page.isEmpty { break }
                for message in page {
                    tried += 1
                    do {
                        try await queue.deliverNow(message.nodeName)
                        done += 1
                    } catch let error as QueueError where error.code == .notFound {
                        // It has become ready, or another client has cancelled it.
                    }
                    progress.update(tried, of: total)
                }
            }
            return done
        }
    }

    /// The delayed messages on which a command acts.
    struct Selection: ParsableArguments {
        @Argument(help: "The names of delayed messages, as \"delayed list\" prints them.")
        var names: [String] = []

        @Option(help: "The ID of delayed messages, in place of their names.")
        var id: String?

        /// Returns the names, or those of the messages with the ID.
        ///
        /// - Throws: ``ToolError`` when no delayed message has the ID.
        func names(in queue: MessageQueue) async throws -> [String] {
            guard let id else { return names }
            let found = try await queue.delayedMessages(limit: .max).filter { $0.id == id }
            guard !found.isEmpty else {
                throw ToolError(
                    "There is no delayed message with this ID in \(queue.path). It may have become ready. List the "
                        + "delayed messages to see their IDs.")
            }
            return found.map(\.nodeName)
        }
    }
}
