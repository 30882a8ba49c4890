import Foundation
import Glibc
import ZooKeeper

/// Waits until the servers have logged every write that the ensemble has acknowledged.
///
/// A restarted server can acknowledge writes before it has logged them (ZOOKEEPER-4646 and similar defects). If the
/// next server is killed at that moment, the ensemble loses acknowledged writes, and the run proves nothing about the
/// queue. A server logs in order, so a log that contains a marker contains every write before it. A file survives the
/// kill of the process that wrote it.
struct Durability: Sendable {
    let client: ZooKeeperClient
    private static let path = "/marker"

    /// Writes a marker, and waits until each server has logged it.
    ///
    /// - Parameter folders: the folders of the servers' logs.
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

    /// Pauses between two polls.
    private func pause(until end: ContinuousClock.Instant) async throws {
        guard ContinuousClock.now < end else {
            throw TestCluster.Failure(description: "The servers have not logged a write within two minutes.")
        }
        // Another process's log file sends no event, so it can only be polled.
        try await Task.sleep(for: .milliseconds(20))
    }

    /// Writes the marker. A repeated write does no harm.
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

    /// Returns the two newest logs, because a server can start another one at any time. Their names end with a
    /// hexadecimal zxid.
    private static func logs(in folder: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let logs = names.compactMap { name in
            name.hasPrefix("log.") ? UInt64(name.dropFirst(4), radix: 16).map { (zxid: $0, name: name) } : nil
        }
        return logs.sorted { $0.zxid > $1.zxid }.prefix(2).map { "\(folder)/\($0.name)" }
    }

    /// `SEEK_HOLE` of `<unistd.h>`, which the C library declares only with `_GNU_SOURCE`.
    private static let seekHole: Int32 = 4

    private static func file(_ path: String, holds marker: [UInt8]) -> Bool {
        guard let file = FileHandle(forReadingAtPath: path) else { return false }
        defer { try? file.close() }
        // A server allocates its log in advance: the part that it has not written is a hole.
        let length = lseek(file.fileDescriptor, 0, seekHole)
        guard length > 0, lseek(file.fileDescriptor, 0, SEEK_SET) == 0 else { return false }
        let written = (try? file.read(upToCount: length)) ?? Data()
        return written.range(of: Data(marker)) != nil
    }
}
