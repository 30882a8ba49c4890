import ZooKeeper

/// A writer that sets one node repeatedly, and checks whether each acknowledged write is still there.
///
/// It does not use the queue. A write that is gone was lost by the servers, and the run then proves nothing about the
/// queue.
actor Canary {
    private let client: ZooKeeperClient
    private static let path = "/canary"
    /// The last acknowledged version, and its zxid.
    private var acknowledged: (version: Int32, zxid: Int64) = (0, 0)
    private(set) var losses: [String] = []

    init(_ client: ZooKeeperClient) { self.client = client }

    /// Writes until the task is cancelled.
    func run() async {
        while !Task.isCancelled {
            do {
                let stat = try await client.set(Self.path, data: [], version: acknowledged.version)
                acknowledged = (stat.version, stat.mzxid)
            } catch is CancellationError {
                return
            } catch let error as ZooKeeperError where error.code == .noNode && acknowledged.zxid == 0 {
                _ = try? await client.create(Self.path)
            } catch {
                await verify()
            }
        }
    }

    private func verify() async {
        do {
            try await client.sync(Self.path)
            let stat = try await client.get(Self.path).stat
            if stat.version < acknowledged.version {
                let (was, now) = (String(acknowledged.zxid, radix: 16), String(stat.mzxid, radix: 16))
                losses.append(
                    "version \(acknowledged.version) of \(Self.path), acknowledged at zxid 0x\(was), is gone: the node has "
                        + "version \(stat.version), of zxid 0x\(now)")
            }
            acknowledged = (stat.version, stat.mzxid)
        } catch {
            // The next write that fails checks again.
        }
    }
}
