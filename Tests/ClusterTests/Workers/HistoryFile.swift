import Foundation
import Glibc
import QueueHistory
import ZooKeeperQueue

/// A file to which a process appends its history, line by line, because the lines must survive when it is killed.
struct HistoryFile: Sendable {
    private let descriptor: Int32
    private let process: String

    init(path: String, process: String) throws {
        descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw CocoaError(.fileWriteUnknown) }
        self.process = process
    }

    func write(_ kind: HistoryEvent.Kind, _ message: String) {
        append(HistoryEvent(kind, by: process, message, time: Self.milliseconds()))
    }

    func write(_ kind: HistoryEvent.Kind, _ message: QueueMessage) {
        append(
            HistoryEvent(
                kind, by: process, String(decoding: message.payload, as: UTF8.self), token: message.fencingToken,
                deliveryCount: message.deliveryCount, name: message.nodeName, time: Self.milliseconds()))
    }

    private func append(_ event: HistoryEvent) {
        let line = Array("\(event)\n".utf8)
        _ = Glibc.write(descriptor, line, line.count)
    }

    /// Returns the time of the machine's monotonic clock, which all processes share.
    static func milliseconds() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
    }
}
