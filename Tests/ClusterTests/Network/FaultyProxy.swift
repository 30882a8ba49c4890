import Foundation
import Synchronization

/// A cable between a client and a server, or between two servers, that can be cut: a TCP proxy on loopback. Each of its
/// connections has two threads, one for each direction, that do nothing but read, wait and write. Where they wait, they
/// sleep: for the time that a slow cable takes, or to look again whether it is mended or the target listens by now.
final class FaultyProxy: Sendable {
    enum Condition: Sendable, Equatable {
        case whole
        /// Nothing arrives, and nobody is told: half-open.
        case cut
        /// Everything arrives later by so many milliseconds.
        case slow(UInt32)
        /// Requests arrive, and answers do not.
        case deaf
    }

    let port: Int
    private let target: Int
    /// How many milliseconds to try for a target that does not listen yet. A proxy cannot refuse a connection as a
    /// closed port does, and a follower that finds its new leader not yet listening would start an election instead of
    /// trying again.
    private let patience: Int
    private let listener: Int32
    private let state = Mutex<(condition: Condition, connections: Set<Connection>)>((.whole, []))

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

        /// The second of the two threads closes what both use.
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

    /// Begins to listen, for as long as the process lives.
    init(to target: Int, patience: Int = 0) throws {
        self.target = target
        self.patience = patience
        (listener, port) = try Sockets.listen()
        Thread.detachNewThread { self.accept() }
    }

    /// Changes what happens on the way.
    func become(_ condition: Condition) { state.withLock { $0.condition = condition } }

    /// Resets every connection.
    func reset() { for connection in state.withLock({ $0.connections }) { connection.reset() } }

    private func accept() {
        while true {
            let client = Glibc.accept(listener, nil, nil)
            if client < 0 { continue }
            Thread.detachNewThread { self.join(client) }
        }
    }

    private func join(_ client: Int32) {
        guard let server = connect() else {
            close(client)
            return
        }
        let connection = Connection(client: client, server: server)
        state.withLock { _ = $0.connections.insert(connection) }
        Thread.detachNewThread { self.carry(connection, from: client, to: server, isAnswer: false) }
        carry(connection, from: server, to: client, isAnswer: true)
    }

    private func connect() -> Int32? {
        for _ in 0...patience / 20 {
            // As if the first packet were on its way.
            while state.withLock({ $0.condition }) == .cut { usleep(20_000) }
            if let server = Sockets.connect(target) { return server }
            if patience > 0 { usleep(20_000) }
        }
        return nil
    }

    private func carry(_ connection: Connection, from source: Int32, to sink: Int32, isAnswer: Bool) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        reading: while true {
            let count = recv(source, &buffer, buffer.count, 0)
            if count <= 0 { break }
            waiting: while true {
                switch state.withLock({ $0.condition }) {
                case .whole: break waiting
                case .slow(let milliseconds):
                    // The slowness itself.
                    usleep(milliseconds * 1_000)
                    break waiting
                case .deaf:
                    if isAnswer { continue reading }
                    break waiting
                // Until the cable is mended, or somebody gives the connection up.
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
