import DequeModule
import Synchronization

/// Collects the log lines of the C client on its threads, for loggers that run elsewhere.
///
/// The C client names no handle in a line, so this one object collects the lines of all handles of the process. Its
/// size is bounded, because the C client may log thousands of lines a second while it cannot connect; see
/// "Process-wide state" in <doc:OverTheCClient>.
final class CClientLog: Sendable {
    static let shared = CClientLog()

    /// One line: the level in the C client's notation, and the text without the time, process and function.
    struct Line: Sendable, Hashable {
        let level: String
        let text: String
    }

    private struct State {
        var lines: Deque<String> = []
        var dropped = 0
    }
    private static let capacity = 64
    private let state = Mutex(State())

    /// Adds a line of the form `2026-01-01 00:00:00,000:1(0x7f):ZOO_WARN@function@12: text`.
    func append(_ message: String) {
        state.withLock { state in
            if state.lines.count < Self.capacity {
                state.lines.append(message)
            } else {
                state.dropped += 1
            }
        }
    }

    /// Removes all lines. Returns the first `limit` of them, and the number of lines that were dropped in total since
    /// the last call, including those beyond `limit`.
    func drain(limit: Int) -> (lines: [Line], dropped: Int) {
        let (messages, dropped) = state.withLock { state in
            defer { state = State() }
            return (state.lines.prefix(limit), state.dropped + max(0, state.lines.count - limit))
        }
        return (messages.map(Self.parse), dropped)
    }

    static func parse(_ message: String) -> Line {
        guard let marker = message.range(of: ":ZOO_") else { return Line(level: "WARN", text: message) }
        let rest = message[marker.upperBound...]
        let level = rest.prefix { $0 != "@" }
        guard let text = rest.range(of: ": ") else { return Line(level: String(level), text: String(rest)) }
        return Line(level: String(level), text: String(rest[text.upperBound...]))
    }
}

extension StringProtocol {
    /// Returns the first range of a string in this one. The target does not link Foundation.
    fileprivate func range(of other: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(other) {
                return start..<index(start, offsetBy: other.count)
            }
            start = index(after: start)
        }
        return nil
    }
}
