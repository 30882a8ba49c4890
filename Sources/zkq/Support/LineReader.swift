import Dispatch
import Glibc
import Synchronization

/// Reads the lines of stdin, as bytes, as they arrive.
final class LineReader: Sendable {
    private enum Input { case bytes([UInt8]), end, failure(String), cancelled }

    private let queue = DispatchQueue(label: "zkq.stdin")
    private let splitter: Mutex<LineSplitter>
    private let waiter = Mutex<CheckedContinuation<Input, Never>?>(nil)

    /// - Parameter limit: the most bytes that a line may have.
    init(limit: Int) { splitter = Mutex(LineSplitter(limit: limit)) }

    /// Returns the available lines, at least one; `nil` at the end of the input. Call it from one task.
    ///
    /// - Throws: ``ToolError`` when stdin cannot be read or a line is too long, after the
    ///   lines before it; `CancellationError`.
    func next() async throws -> [[UInt8]]? {
        while true {
            let (line, isTooLong, limit) = splitter.withLock { ($0.count + 1, $0.isTooLong, $0.limit) }
            let before = line > 1 ? " The lines before it are stored." : ""
            if isTooLong {
                throw ToolError(
                    "Line \(line) of stdin is longer than a message may be (\(limit) bytes).\(before) Store large "
                        + "payloads elsewhere and send a reference.")
            }
            switch await read() {
            case .bytes(let bytes):
                let lines = splitter.withLock { $0.add(bytes) }
                if !lines.isEmpty { return lines }
            case .end: return splitter.withLock { $0.finish() }.map { [$0] }
            case .failure(let reason):
                throw ToolError("Line \(line) of stdin cannot be read: \(reason).\(before)")
            case .cancelled: throw CancellationError()
            }
        }
    }

    /// Reads in a separate thread, because the read blocks. A cancelled read is
    /// abandoned, because the process ends then.
    private func read() async -> Input {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                waiter.withLock { $0 = continuation }
                if Task.isCancelled { return resume(.cancelled) }
                queue.async { self.resume(Self.readOnce()) }
            }
        } onCancel: {
            resume(.cancelled)
        }
    }

    private static func readOnce() -> Input {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(STDIN_FILENO, &buffer, buffer.count)
            if count > 0 { return .bytes(Array(buffer[..<count])) }
            if count == 0 { return .end }
            switch errno {
            case EINTR: continue
            case EAGAIN: StandardStreams.wait(for: POLLIN, on: STDIN_FILENO)
            default: return .failure(StandardStreams.lastError)
            }
        }
    }

    private func resume(_ input: Input) {
        let continuation = waiter.withLock { waiter in
            defer { waiter = nil }
            return waiter
        }
        continuation?.resume(returning: input)
    }
}
