import ArgumentParser
import ZooKeeperQueue

/// The activities that a command pauses or resumes.
struct ActivityOptions: ParsableArguments {
    @Flag(help: "Only sending, unless --consume is there too. Default: sending and consuming.")
    var send = false

    @Flag(help: "Only consuming, unless --send is there too. Default: sending and consuming.")
    var consume = false

    /// Changes what is paused, and prints the result.
    ///
    /// - Parameter change: receives what is paused, and the activities that the options select.
    func change(
        _ options: QueueOptions,
        _ change: @escaping @Sendable (inout Set<QueueAttributes.Activity>, Set<QueueAttributes.Activity>) -> Void
    ) async throws {
        let selected: Set<QueueAttributes.Activity> =
            send == consume ? Set(QueueAttributes.Activity.allCases) : send ? [.send] : [.consume]
        try await withInterruption {
            try await options.withQueue(createIfMissing: false) { queue in
                let paused = try await queue.update { change(&$0.paused, selected) }.paused
                try StandardOutput.line(Self.sentence(paused))
            }
        }
    }

    private static func sentence(_ paused: Set<QueueAttributes.Activity>) -> String {
        switch (paused.contains(.send), paused.contains(.consume)) {
        case (true, true): "Sending and consuming are paused."
        case (true, false): "Sending is paused."
        case (false, true): "Consuming is paused."
        case (false, false): "Nothing is paused."
        }
    }
}
