import Synchronization

/// A progress bar on stderr for a long operation. It shows nothing when stderr is not a terminal.
final class Progress: Sendable {
    private let label: String
    private let shown = Mutex(-1)

    init(_ label: String) { self.label = label }

    func update(_ done: Int, of total: Int) {
        guard StandardError.isTerminal, total > 0 else { return }
        let percent = min(100, done * 100 / total)
        let isNew = shown.withLock { shown in
            defer { shown = percent }
            return shown != percent
        }
        guard isNew else { return }
        let filled = percent * 30 / 100
        let bar = String(repeating: "#", count: filled) + String(repeating: " ", count: 30 - filled)
        StandardError.write("\r\(label) [\(bar)] \(done)/\(total)\(percent == 100 ? "\n" : "")")
    }

    /// Ends the line of an incomplete bar, because a message can follow.
    func end() {
        if (0..<100).contains(shown.withLock { $0 }) { StandardError.write("\n") }
    }
}
