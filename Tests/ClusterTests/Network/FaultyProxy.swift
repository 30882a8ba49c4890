import Foundation
import Synchronization

/// A TCP proxy on loopback between a client and a server, or between two servers, which injects network faults.
///
/// Each connection has two threads, one for each direction, which read, wait and write. They sleep for the time by
/// which a slow network delays data, and between two checks whether the connection is healthy again or the target
/// listens.
final class FaultyProxy: Sendable {
    enum Condition: Sendable, Equatable {
        case healthy
        /// The connections are half-open: nothing arrives, and neither side sees an error.
        case cut
        /// All data arrives this number of milliseconds late.
        case slow(UInt32)
        /// Requests arrive, and responses do not.
        case dropsResponses
    }

    let port: Int
    private let target: Int
    /// For how many milliseconds the proxy tries to connect to a target that does not listen yet. A proxy cannot refuse
    /// a connection as a closed port does, and a follower whose new leader does not listen yet would start an election
    /// instead of trying again.
    private let connectTimeout: Int
    private let listener: Int32
    private let state = Mutex<(condition: Condition, connections: Set<Connection>)>((.healthy, []))

    private final class Connection: Sendable, Hashable {
        let client: Int32
        let server: Int32
        private let ended = Atomic<Int>(0)

        init(client: Int32, server: Int32) {
            self.client = client
            self.server = server
        }

        func reset() {
            Sockets.reset(client)
            Sockets.reset(server)
        }

        /// Resets the connection. The second of the two threads also closes the sockets, because both threads use them.
        ///
        /// - Returns: whether the sockets are closed.
        func end() -> Bool {
            reset()
            guard ended.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue == 2 else { return false }
            close(client)
            close(server)
            return true
        }

        static func == (a: Connection, b: Connection) -> Bool { a === b }
        func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
    }

    /// Listens until the process ends.
    init(to target: Int, connectTimeout: Int = 0) throws {
        self.target = target
        self.connectTimeout = connectTimeout
        (listener, port) = try Sockets.listen()
        Thread.detachNewThread { self.accept() }
    }

    /// Changes the fault that the proxy injects.
    func setCondition(_ condition: Condition) { state.withLock { $0.condition = condition } }

    /// Resets every connection.
    func reset() { for connection in state.withLock({ $0.connections }) { connection.reset() } }

    private func accept() {
        while true {
            let client = Glibc.accept(listener, nil, nil)
            if client < 0 { continue }
            Thread.detachNewThread { self.serve(client) }
        }
    }

    private func serve(_ client: Int32) {
        guard let server = connect() else {
            close(client)
            return
        }
        let connection = Connection(client: client, server: server)
        state.withLock { _ = $0.connections.insert(connection) }
        Thread.detachNewThread { self.forward(connection, from: client, to: server, isResponse: false) }
        forward(connection, from: server, to: client, isResponse: true)
    }

    private func connect() -> Int32? {
        for _ in 0...connectTimeout / 20 {
            // The client waits, as it would for the reply to a lost packet.
            while state.withLock({ $0.condition }) == .cut { usleep(20_000) }
            if let server = Sockets.connect(target) { return server }
            // No event announces that the server listens again.
            if connectTimeout > 0 { usleep(20_000) }
        }
        return nil
    }

    private func forward(_ connection: Connection, from source: Int32, to sink: Int32, isResponse: Bool) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        reading: while true {
            let count = recv(source, &buffer, buffer.count, 0)
            if count <= 0 { break }
            waiting: while true {
                switch state.withLock({ $0.condition }) {
                case .healthy: break waiting
                case .slow(let milliseconds):
                    // The injected delay.
                    usleep(milliseconds * 1_000)
                    break waiting
                case .dropsResponses:
                    if isResponse { continue reading }
                    break waiting
                // Polls until the proxy is healthy again, or one side resets the connection.
                case .cut: usleep(5_000)
                }
            }
            var sent = 0
            while sent < count {
                let more = buffer[sent..<count].withUnsafeBytes {
                    send(sink, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                if more <= 0 { break reading }
                sent += more
            }
        }
        if connection.end() { state.withLock { _ = $0.connections.remove(connection) } }
    }
}
