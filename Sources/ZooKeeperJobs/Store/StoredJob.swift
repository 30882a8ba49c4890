import ZooKeeperQueue

/// What the headers of a message say about its job. The names are a wire format.
struct StoredJob: Sendable, Hashable {
    /// A job's place in a batch.
    struct Membership: Sendable, Hashable {
        let batch: String
        let shard: Int
    }

    var id: String
    var name: String
    var version: Int
    var contentType: String
    var membership: Membership?
    /// The name of the job's unique lock.
    var lock: UniqueLock.Name?

    private enum Header {
        static let name = "zkq-job"
        static let id = "zkq-job-id"
        static let version = "zkq-job-version"
        static let batch = "zkq-job-batch"
        static let unique = "zkq-job-unique"
        static let contentType = "content-type"
    }

    static func isReserved(_ header: String) -> Bool {
        header.hasPrefix("zkq-") || header.lowercased() == Header.contentType
    }

    init(id: String, name: String, version: Int, contentType: String) {
        self.id = id
        self.name = name
        self.version = version
        self.contentType = contentType
    }

    /// Reads the headers. `nil` when the message is not a job, or a job in a form that this release does not know.
    init?(_ headers: [String: String]) {
        guard let name = headers[Header.name], let id = headers[Header.id], 1...255 ~= id.utf8.count,
            JobName.isValid(name)
        else { return nil }
        self.init(
            id: id, name: name, version: headers[Header.version].flatMap { Int($0) } ?? 1,
            contentType: headers[Header.contentType] ?? "application/json")
        if let value = headers[Header.batch] {
            guard let membership = Membership(value) else { return nil }
            self.membership = membership
        }
        if let value = headers[Header.unique] {
            guard let lock = UniqueLock.Name(value) else { return nil }
            self.lock = lock
        }
    }

    var headers: [String: String] {
        var headers = [Header.name: name, Header.id: id, Header.contentType: contentType]
        if version != 1 { headers[Header.version] = "\(version)" }
        if let membership { headers[Header.batch] = membership.encoded }
        if let lock { headers[Header.unique] = lock.encoded }
        return headers
    }
}

extension StoredJob.Membership {
    /// Reads `<batch>/<shard>`. Bytes from other programs must not lead to another path.
    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let shard = Int(parts[1]), (0..<JobBatch.maximumShards).contains(shard),
            NodeName.isPlain(parts[0])
        else { return nil }
        self.init(batch: String(parts[0]), shard: shard)
    }

    var encoded: String { "\(batch)/\(shard)" }
}
