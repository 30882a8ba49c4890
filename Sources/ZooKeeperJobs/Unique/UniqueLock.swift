import ZooKeeperQueue

/// The node that prevents equal jobs from being stored: its name, and its data.
struct UniqueLock: Sendable, Hashable {
    /// The name of a lock, and what ends it. The node's name has the job's name and key. It lies in one of 256 folders,
    /// so that no list of children gets too long.
    struct Name: Sendable, Hashable {
        let node: String
        let event: UniquePolicy.Event?

        private static let maximumKeyLength = 180

        /// - Throws: ``JobError`` for a key that is empty or too long.
        init(job: String, key: String, event: UniquePolicy.Event?) throws {
            guard 1...Self.maximumKeyLength ~= key.utf8.count else {
                throw JobError(
                    .invalidJob,
                    "The key of a unique job must have 1 to \(Self.maximumKeyLength) bytes, not \(key.utf8.count). "
                        + "Without a key, the encoded job is the key: pass a shorter one.")
            }
            node = NodeName.escape(job) + ":" + NodeName.escape(key)
            self.event = event
        }

        /// Reads the header: what ends the lock, a space and the node's name.
        init?(_ text: String) {
            let parts = text.split(separator: " ", maxSplits: 1)
            guard parts.count == 2, parts[1].utf8.count <= 1_024, parts[1].contains(":"),
                !parts[1].utf8.contains(where: { $0 == UInt8(ascii: "/") || $0 <= 0x20 || $0 >= 0x7F })
            else { return nil }
            switch parts[0] {
            case "started": event = .started
            case "done": event = .done
            case "time": event = nil
            default: return nil
            }
            node = String(parts[1])
        }

        /// The value of the header.
        var encoded: String {
            switch event {
            case .started: "started \(node)"
            case .done: "done \(node)"
            default: "time \(node)"
            }
        }

        /// Two hexadecimal digits: the lowest byte of the FNV-1a hash (32 bits) of the node's name.
        var folder: String {
            let hash = node.utf8.reduce(into: UInt32(2_166_136_261)) { hash, byte in
                hash = (hash ^ UInt32(byte)) &* 16_777_619
            }
            let digits = String(hash & 0xFF, radix: 16)
            return digits.utf8.count == 1 ? "0" + digits : digits
        }
    }

    /// When the lock expires.
    let expiresAt: EnsembleTime
    /// The job that holds the lock.
    let job: String

    init(job: String, expiresAt: EnsembleTime) {
        self.job = job
        self.expiresAt = expiresAt
    }

    /// Reads a lock's data: the time in milliseconds since 1970, a space and the job's ID. `nil` for other data, which
    /// then counts as an expired lock.
    init?(_ data: [UInt8]?) {
        let parts = String(decoding: data ?? [], as: UTF8.self).split(separator: " ", maxSplits: 1)
        guard parts.count == 2, let time = Int64(parts[0]) else { return nil }
        self.init(job: String(parts[1]), expiresAt: EnsembleTime(millisecondsSince1970: time))
    }

    var data: [UInt8] { Array("\(expiresAt.millisecondsSince1970) \(job)".utf8) }
}
