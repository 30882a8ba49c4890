import Glibc

/// The three standard streams of a process.
enum StandardStreams {
    /// Occupies the descriptors of streams that were closed at the start. Otherwise a socket could get the descriptor
    /// of stdin, and the tool would read a server's bytes as lines, or write its results to a server. Each stream is
    /// opened in the wrong direction, so that its use fails.
    static func occupy() {
        for stream in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(stream, F_GETFD) < 0 {
            // `open` returns the lowest free descriptor. That is this one, because the lower ones are open.
            _ = open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY)
        }
    }

    /// Waits until a stream can be read (`POLLIN`) or written (`POLLOUT`), or has failed.
    ///
    /// - Parameter milliseconds: how long to wait at most; -1 means no limit.
    /// - Returns: whether the stream is ready or has failed.
    @discardableResult
    static func wait(for events: Int32, on stream: Int32, milliseconds: Int32 = -1) -> Bool {
        var descriptor = pollfd(fd: stream, events: Int16(events), revents: 0)
        var count = poll(&descriptor, 1, milliseconds)
        while count < 0, errno == EINTR { count = poll(&descriptor, 1, milliseconds) }
        return count > 0
    }

    /// The message for the error of the last call that failed.
    static var lastError: String { String(cString: strerror(errno)) }
}
