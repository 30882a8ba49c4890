#if canImport(CZooKeeper)
import CZooKeeper

/// Memory for the strings and bytes of one call of the C client, freed all at once.
final class CArena {
    private let base: UnsafeMutableBufferPointer<CChar>
    private var used = 0

    init(capacity: Int) { base = .allocate(capacity: max(1, capacity)) }
    deinit { base.deallocate() }

    /// Returns a copy of the string with a terminating NUL.
    func string(_ string: String) -> UnsafePointer<CChar>? {
        let start = take(string.utf8.count + 1)
        var index = start
        for byte in string.utf8 {
            base[index] = CChar(bitPattern: byte)
            index += 1
        }
        base[index] = 0
        return base.baseAddress.map { UnsafePointer($0 + start) }
    }

    /// Returns a copy of the bytes and its length. The C client takes the length -1 as null data and 0 as empty data;
    /// see "Requests and results" in <doc:OverTheCClient>.
    func data(_ data: [UInt8]?) -> (UnsafePointer<CChar>?, Int32) {
        guard let data else { return (nil, -1) }
        let start = take(max(1, data.count))
        UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(base)[start...]).copyBytes(from: data)
        return (base.baseAddress.map { UnsafePointer($0 + start) }, Int32(data.count))
    }

    private func take(_ count: Int) -> Int {
        defer { used += count }
        precondition(
            used + count <= base.count, "A buffer for the C client is too small. Report this as a bug in this library.")
        return used
    }
}

/// An access control list as a structure of the C client.
final class CACL {
    private let arena: CArena
    private let entries: UnsafeMutableBufferPointer<CZooKeeper.ACL>
    private let vector: UnsafeMutablePointer<ACL_vector>

    var pointer: UnsafePointer<ACL_vector> { UnsafePointer(vector) }

    init(_ acl: [ACL]) {
        arena = CArena(capacity: acl.reduce(0) { $0 + $1.scheme.utf8.count + $1.id.utf8.count + 2 })
        entries = .allocate(capacity: max(1, acl.count))
        for (index, entry) in acl.enumerated() {
            // The C client only reads these strings, although its structure declares them mutable.
            let id = Id(
                scheme: UnsafeMutablePointer(mutating: arena.string(entry.scheme)),
                id: UnsafeMutablePointer(mutating: arena.string(entry.id)))
            (entries.baseAddress.map { $0 + index })?.initialize(
                to: CZooKeeper.ACL(perms: entry.permissions.rawValue, id: id))
        }
        vector = .allocate(capacity: 1)
        vector.initialize(to: ACL_vector(count: Int32(acl.count), data: entries.baseAddress))
    }

    deinit {
        vector.deallocate()
        entries.deallocate()
    }
}

extension Stat {
    init(_ stat: CZooKeeper.Stat) {
        self.init(
            czxid: stat.czxid, mzxid: stat.mzxid, pzxid: stat.pzxid, ctime: stat.ctime, mtime: stat.mtime,
            version: stat.version, cversion: stat.cversion, aversion: stat.aversion,
            ephemeralOwner: stat.ephemeralOwner, dataLength: stat.dataLength, numChildren: stat.numChildren)
    }
}
#endif
