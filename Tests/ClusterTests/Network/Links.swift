import Synchronization

/// The proxies between the servers.
final class Links: Sendable {
    private struct Link {
        let ends: Set<Int>
        let proxy: FaultyProxy
    }
    private let links = Mutex<[Link]>([])

    /// Adds a proxy to a peer's port.
    ///
    /// - Returns: the port of the proxy, which the server uses in place of the peer's port.
    func add(from server: Int, to peer: Int, _ port: Int) throws -> Int {
        let proxy = try FaultyProxy(to: port, connectTimeout: 5_000)
        links.withLock { $0.append(Link(ends: [server, peer], proxy: proxy)) }
        return proxy.port
    }

    func of(_ server: Int) -> [FaultyProxy] { links.withLock { $0.filter { $0.ends.contains(server) }.map(\.proxy) } }
}
