import ArgumentParser

struct Pause: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Pause sending and consuming for all members of the queue, and print what is paused.",
        discussion: """
            While sending is paused, sends fail. While consuming is paused, consumers hand out no message, and the \
            messages that handlers hold are settled as usual. Members of older releases go on. The pause lasts until \
            "zkq resume".
            """)

    @OptionGroup var options: QueueOptions
    @OptionGroup var activities: ActivityOptions

    func run() async throws { try await activities.change(options) { $0.formUnion($1) } }
}

struct Resume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Resume sending and consuming for all members of the queue, and print what is still paused.")

    @OptionGroup var options: QueueOptions
    @OptionGroup var activities: ActivityOptions

    func run() async throws { try await activities.change(options) { $0.subtract($1) } }
}
