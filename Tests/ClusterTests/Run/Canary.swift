import ZooKeeper

/// Somebody who writes one node again and again, and looks whether what was acknowledged is still there. It knows nothing of the
/// queue: what it misses, the servers have lost, and a run that fails then says nothing of the queue.
actor Canary {
    private let client: ZooKeeperClient
    private static let path = "/canary"
    /// The version that is certainly there, and its transaction.
    private var acknowledged: (version: Int32, zxid: Int64) = (0, 0)
    private(set) var losses: [String] = []

    init(_ client: ZooKeeperClient) { self.client = client }

    /// Until the task is cancelled.
    func sing() async {
        while !Task.isCancelled {
            do {
                let stat = try await client.set(Self.path, data: [], version: acknowledged.version)
                acknowledged = (stat.version, stat.mzxid)
            } catch is CancellationError {
                return
            } catch let error as ZooKeeperError where error.code == .noNode && acknowledged.zxid == 0 {
                _ = try? await client.create(Self.path)
            } catch {
                await look()
            }
        }
    }

    private func look() async {
        do {
            try await client.sync(Self.path)
            let stat = try await client.get(Self.path).stat
            if stat.version < acknowledged.version {
                let (was, now) = (String(acknowledged.zxid, radix: 16), String(stat.mzxid, radix: 16))
                losses.append(
                    "version \(acknowledged.version) of \(Self.path), acknowledged at zxid 0x\(was), is gone: it is at version "
                        + "\(stat.version), of zxid 0x\(now)")
            }
            acknowledged = (stat.version, stat.mzxid)
        } catch {
            // Looked at again with the next write.
        }
    }
}
