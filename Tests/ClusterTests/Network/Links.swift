import Synchronization

/// The cables between servers.
final class Links: Sendable {
    private struct Link {
        let ends: Set<Int>
        let cable: FaultyProxy
    }
    private let links = Mutex<[Link]>([])

    /// - Returns: the port at which one server finds the other's port.
    func add(from server: Int, to peer: Int, _ port: Int) throws -> Int {
        let cable = try FaultyProxy(to: port, patience: 5_000)
        links.withLock { $0.append(Link(ends: [server, peer], cable: cable)) }
        return cable.port
    }

    func of(_ server: Int) -> [FaultyProxy] { links.withLock { $0.filter { $0.ends.contains(server) }.map(\.cable) } }
}
