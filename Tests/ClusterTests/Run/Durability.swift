import Foundation
import Glibc
import ZooKeeper

/// Waits until servers have in their logs whatever the ensemble has acknowledged.
///
/// A server that has come back can acknowledge more than it has logged (ZOOKEEPER-4646 and others). When the next server is killed
/// in that moment, the ensemble loses acknowledged writes, and the run says nothing of the queue. A server logs in order, so that
/// everything before a marker is in a log that holds the marker. What is in a file survives the kill of its process.
struct Durability: Sendable {
    let client: ZooKeeperClient
    private static let path = "/marker"

    /// - Parameter folders: where the servers keep their logs.
    func wait(for folders: [String]) async throws {
        let marker = Array(UUID().uuidString.utf8)
        let end = ContinuousClock.now + .seconds(120)
        while !(await write(marker)) { try await pause(until: end) }
        for folder in folders {
            while !Self.logs(in: folder).contains(where: { Self.file($0, holds: marker) }) {
                try await pause(until: end)
            }
        }
    }

    /// The answer of servers, and another process's file, can only be asked for.
    private func pause(until end: ContinuousClock.Instant) async throws {
        guard ContinuousClock.now < end else {
            throw TestCluster.Slow(description: "The servers have not logged a write within two minutes.")
        }
        // Another process's log file can only be polled.
        try await Task.sleep(for: .milliseconds(20))
    }

    /// Writes the marker; once more is harmless.
    private func write(_ marker: [UInt8]) async -> Bool {
        do {
            try await client.set(Self.path, data: marker)
            return true
        } catch let error as ZooKeeperError where error.code == .noNode {
            return (try? await client.create(Self.path, data: marker)) != nil
        } catch {
            return false
        }
    }

    /// The two newest logs, because a server can begin a new one at any time. Their names end with a hexadecimal zxid.
    private static func logs(in folder: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let logs = names.compactMap { name in
            name.hasPrefix("log.") ? UInt64(name.dropFirst(4), radix: 16).map { (zxid: $0, name: name) } : nil
        }
        return logs.sorted { $0.zxid > $1.zxid }.prefix(2).map { "\(folder)/\($0.name)" }
    }

    /// `SEEK_HOLE` of `<unistd.h>`, which the C library declares for `_GNU_SOURCE` alone.
    private static let seekHole: Int32 = 4

    private static func file(_ path: String, holds marker: [UInt8]) -> Bool {
        guard let file = FileHandle(forReadingAtPath: path) else { return false }
        defer { try? file.close() }
        // A server makes its log longer than what it has written: the rest is a hole.
        let length = lseek(file.fileDescriptor, 0, seekHole)
        guard length > 0, lseek(file.fileDescriptor, 0, SEEK_SET) == 0 else { return false }
        let written = (try? file.read(upToCount: length)) ?? Data()
        return written.range(of: Data(marker)) != nil
    }
}
