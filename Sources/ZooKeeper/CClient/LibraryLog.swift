import DequeModule
import Synchronization

/// The lines that the library logs, taken on its threads and handed to a logger elsewhere.
///
/// The library names no handle in a line, so the lines of all handles of the process meet here. They are bounded: while
/// it cannot connect, the library may write thousands of lines a second (rules 40 and 44).
final class LibraryLog: Sendable {
    static let shared = LibraryLog()

    /// One line: its level in the library's words, and its text without time, process and function.
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

    /// Takes a line of the form `2026-01-01 00:00:00,000:1(0x7f):ZOO_WARN@function@12: text`.
    func append(_ message: String) {
        state.withLock { state in
            if state.lines.count < Self.capacity {
                state.lines.append(message)
            } else {
                state.dropped += 1
            }
        }
    }

    /// Takes up to `limit` lines out, and how many were dropped since the last time; the rest is dropped too.
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
    /// The first place of a string in this one; the core does without Foundation.
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
