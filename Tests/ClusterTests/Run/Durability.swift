import Foundation
import Glibc
import ZooKeeper

/// Waits until the servers have logged every write that the ensemble has acknowledged.
///
/// A restarted server can acknowledge writes before it has logged them (ZOOKEEPER-4646 and similar defects). If the
/// next server is killed at that moment, the ensemble loses acknowledged writes, and the run proves nothing about the
/// queue. A server logs in order, so with a marker it has logged every write before it, or received it in a snapshot. A
/// file survives the kill of the process that wrote it.
struct Durability: Sendable {
    let client: ZooKeeperClient
    private static let path = "/marker"

    /// Writes a marker, and waits until each server has logged it.
    ///
    /// - Parameter folders: the folders of the servers' logs.
    func wait(for folders: [String]) async throws {
        let end = ContinuousClock.now + .seconds(120)
        // Each is written after the call, so that any of them proves what the caller waits for.
        var markers = [try await newMarker(until: end)]
        var renewal = ContinuousClock.now + Self.patience
        for folder in folders {
            while !Self.logs(in: folder).contains(where: { Self.file($0, holds: markers) }) {
                if ContinuousClock.now > renewal {
                    markers.append(try await newMarker(until: end))
                    renewal = ContinuousClock.now + Self.patience
                }
                try await pause(until: end, "No marker of the last two minutes is in the logs of \(folder).")
            }
        }
    }

    /// How long a server may take to log a marker before it gets another one. A leader that was stopped and runs again
    /// still responds as a leader, before it has noticed that it was replaced. If it then has to drop writes of its
    /// own, it receives the marker in the new leader's snapshot, and never logs it.
    private static let patience = Duration.seconds(3)

    private func newMarker(until end: ContinuousClock.Instant) async throws -> [UInt8] {
        let marker = Array(UUID().uuidString.utf8)
        while let error = await write(marker) {
            try await pause(until: end, "The ensemble has accepted no write for two minutes: \(error)")
        }
        return marker
    }

    /// Pauses between two polls.
    private func pause(until end: ContinuousClock.Instant, _ failure: @autoclosure () -> String) async throws {
        guard ContinuousClock.now < end else { throw TestCluster.Failure(description: failure()) }
        // Another process's log file sends no event, so it can only be polled.
        try await Task.sleep(for: .milliseconds(20))
    }

    /// Writes the marker. A repeated write does no harm.
    ///
    /// - Returns: why the marker was not written, or `nil` when it was.
    private func write(_ marker: [UInt8]) async -> (any Error)? {
        do {
            do {
                try await client.set(Self.path, data: marker)
            } catch let error as ZooKeeperError where error.code == .noNode {
                _ = try await client.create(Self.path, data: marker)
            }
            return nil
        } catch {
            return error
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

    private static func file(_ path: String, holds markers: [[UInt8]]) -> Bool {
        guard let file = FileHandle(forReadingAtPath: path) else { return false }
        defer { try? file.close() }
        // A server allocates its log in advance: the part that it has not written is a hole.
        let length = lseek(file.fileDescriptor, 0, seekHole)
        guard length > 0, lseek(file.fileDescriptor, 0, SEEK_SET) == 0 else { return false }
        let written = (try? file.read(upToCount: length)) ?? Data()
        return markers.contains { written.range(of: Data($0)) != nil }
    }
}
