import Foundation
public import ZooKeeperServer

/// Ages a server's data, as years of messages would.
public enum ServerAge {
    /// Sets the number of children that a node has ever had, which is the number of its next sequential child.
    ///
    /// The server must be the only one of its ensemble. It is restarted twice: it writes a snapshot when it starts, and
    /// the snapshot is changed while the server is stopped.
    public static func set(childrenCreated count: Int32, of path: String, in ensemble: LocalEnsemble) async throws {
        await ensemble.kill(0)
        try await ensemble.start(0)
        await ensemble.kill(0)
        let folder = URL(filePath: await ensemble.dataFolder(0))
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        func zxid(_ file: URL) -> UInt64 { UInt64(file.pathExtension, radix: 16) ?? 0 }
        let snapshots = files.filter { $0.lastPathComponent.hasPrefix("snapshot.") }.sorted { zxid($0) < zxid($1) }
        guard let newest = snapshots.last else { throw Failure(description: "The server did not write a snapshot.") }
        var bytes = Array(try Data(contentsOf: newest))
        try age(path, count, &bytes)
        try seal(&bytes)
        try Data(bytes).write(to: newest)
        try await ensemble.start(0)
    }

    struct Failure: Error, CustomStringConvertible { let description: String }

    /// Replaces the number of children in a node's record. The record contains the path, the data, the number of the
    /// access control list and the `StatPersisted`, in jute's format.
    private static func age(_ path: String, _ count: Int32, _ bytes: inout [UInt8]) throws {
        let key = bigEndian(UInt32(path.utf8.count)) + Array(path.utf8)
        guard let start = bytes.indices.first(where: { bytes[$0...].starts(with: key) }) else {
            throw Failure(description: "\(path) is not in the snapshot.")
        }
        let data = start + key.count
        let length = max(0, Int(Int32(bitPattern: bytes[data..<data + 4].reduce(0) { $0 << 8 | UInt32($1) })))
        // Skips the number of the list; czxid, mzxid, ctime and mtime; version.
        let counter = data + 4 + length + 8 + 4 * 8 + 4
        bytes.replaceSubrange(counter..<counter + 4, with: bigEndian(UInt32(bitPattern: count)))
    }

    /// Updates the seals of a snapshot. A seal is the Adler-32 of all bytes before it, followed by the string "/".
    /// There is one at the end. There can be one more before the digest, and one more before the number of the last
    /// transaction, which servers from 3.9 on write after the digest.
    private static func seal(_ bytes: inout [UInt8]) throws {
        let mark: [UInt8] = [0, 0, 0, 1, UInt8(ascii: "/")]
        let sealLength = 8 + mark.count
        let (digest, zxid) = (8 + 4 + 8 + sealLength, 8 + sealLength)
        let last = bytes.count - sealLength
        // In the order of the file, because a seal covers the seals before it.
        let seals = [last - zxid - digest, last - digest, last - zxid, last].filter {
            $0 > 0 && bytes[($0 + 8)...].starts(with: mark)
        }
        guard !seals.isEmpty else { throw Failure(description: "The snapshot has no seal.") }
        for start in seals {
            bytes.replaceSubrange(start..<start + 8, with: [0, 0, 0, 0] + bigEndian(adler32(bytes[..<start])))
        }
    }

    private static func bigEndian(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }

    private static func adler32(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        var (a, b): (UInt32, UInt32) = (1, 0)
        for byte in bytes {
            a = (a + UInt32(byte)) % 65_521
            b = (b + a) % 65_521
        }
        return b << 16 | a
    }
}
