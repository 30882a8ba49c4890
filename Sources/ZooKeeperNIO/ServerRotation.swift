import NIOCore
import ZooKeeper

/// The order in which a handle tries its servers: a random one, each server once a round, with a pause after a round
/// without success.
struct ServerRotation: Sendable {
    struct Server: Sendable, Hashable {
        let host: String
        let port: Int

        /// The name that the server's certificate must have. `nil` for an IP address: it is not sent as SNI, and NIOSSL
        /// checks the certificate against the connection's address instead.
        var nameForTLS: String? { (try? SocketAddress(ipAddress: host, port: port)) == nil ? host : nil }
    }

    private let servers: [Server]
    private var position = 0
    /// The failed attempts since the last stable connection.
    private var failures = 0
    private var backoff = Backoff(base: .milliseconds(100), maximum: .seconds(1))
    var count: Int { servers.count }

    /// - Parameter list: `host:port,…`, as a configuration has validated it.
    init(_ list: String) {
        servers = list.split(separator: ",").shuffled().compactMap { server in
            guard let colon = server.lastIndex(of: ":"), let port = Int(server[server.index(after: colon)...]) else {
                return nil
            }
            return Server(host: server[..<colon].filter { $0 != "[" && $0 != "]" }, port: port)
        }
    }

    /// Returns the server to try.
    mutating func next() -> Server {
        defer { position += 1 }
        return servers[position % servers.count]
    }

    /// Returns how long to wait before the next attempt, after one has failed or a connection was lost. Each server is
    /// tried soon, and then the pauses grow. They are random, because otherwise all clients of a restarted ensemble
    /// would connect at once.
    mutating func delay() -> Duration {
        failures += 1
        return failures % (servers.count + 1) == 0 ? backoff.next() : .milliseconds(.random(in: 1...20))
    }

    /// Resets the backoff after a stable connection.
    mutating func reset() {
        backoff.reset()
        failures = 0
    }
}
