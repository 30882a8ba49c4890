import ArgumentParser
import Glibc

/// Writes results to stdout line by line, without a buffer.
enum StandardOutput {
    /// Writes bytes and a line break. Waits when the stream is set to non-blocking.
    ///
    /// - Throws: `ExitCode` when the reader has closed the pipe, because a program then ends without a message;
    ///   ``ToolError`` for any other failure.
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

/// Writes messages for the user to stderr.
enum StandardError {
    static func line(_ text: String) { write(text + "\n") }

    static func write(_ text: String) {
        let bytes = Array(text.utf8)
        // A failure is ignored, because there is no other place to report it.
        _ = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }
}
