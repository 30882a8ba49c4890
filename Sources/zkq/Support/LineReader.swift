import Dispatch
import Glibc
import Synchronization

/// The lines of stdin, as bytes, as they come.
final class LineReader: Sendable {
    private let queue = DispatchQueue(label: "zkq.stdin")
    private let rest = Mutex<[UInt8]>([])
    private let waiter = Mutex<CheckedContinuation<[UInt8]?, Never>?>(nil)

    /// The lines that are there, at least one; `nil` at the end, and when the task is cancelled. For one task.
    func next() async -> [[UInt8]]? {
        while !Task.isCancelled {
            guard let chunk = await read() else { break }
            let lines = rest.withLock { rest in
                rest += chunk
                var lines = rest.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map(Array.init)
                rest = lines.popLast() ?? []
                return lines
            }
            if !lines.isEmpty { return lines }
        }
        // A last line without an end.
        return rest.withLock { rest in
            defer { rest = [] }
            return rest.isEmpty || Task.isCancelled ? nil : [rest]
        }
    }

    /// Blocks a thread of its own. A read that is cancelled is left behind: the process ends then.
    private func read() async -> [UInt8]? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                waiter.withLock { $0 = continuation }
                if Task.isCancelled { return resume(nil) }
                queue.async { [self] in
                    var buffer = [UInt8](repeating: 0, count: 1 << 16)
                    var count = Glibc.read(STDIN_FILENO, &buffer, buffer.count)
                    while count < 0, errno == EINTR { count = Glibc.read(STDIN_FILENO, &buffer, buffer.count) }
                    resume(count > 0 ? Array(buffer[..<count]) : nil)
                }
            }
        } onCancel: {
            resume(nil)
        }
    }

    private func resume(_ chunk: [UInt8]?) {
        let continuation = waiter.withLock { waiter in
            defer { waiter = nil }
            return waiter
        }
        continuation?.resume(returning: chunk)
    }
}
