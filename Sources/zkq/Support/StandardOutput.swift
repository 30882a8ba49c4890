import ArgumentParser
import Glibc

/// Results, line by line, each written out at once.
enum StandardOutput {
    /// Writes bytes and the end of a line. Waits for a stream that is set to non-blocking.
    ///
    /// - Throws: `ExitCode` when whoever read has gone: the tool ends without a word, as programs do then.
    static func line(_ bytes: [UInt8]) throws {
        var rest = (bytes + [UInt8(ascii: "\n")])[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count < 0 {
                switch errno {
                case EINTR: continue
                case EAGAIN: StandardStreams.wait(for: POLLOUT, on: STDOUT_FILENO)
                case EPIPE: throw ExitCode(128 + SIGPIPE)
                default: throw ToolError("Cannot write to stdout: \(StandardStreams.lastError).")
                }
            } else {
                rest = rest.dropFirst(count)
            }
        }
    }

    static func line(_ text: String) throws { try line(Array(text.utf8)) }
}

/// Words for the person at the terminal.
enum StandardError {
    static func line(_ text: String) { write(text + "\n") }

    static func write(_ text: String) {
        let bytes = Array(text.utf8)
        // Nobody can be told when this fails.
        _ = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }
}
