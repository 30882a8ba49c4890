import Dispatch
import Glibc

/// ZooKeeper's commands of four letters, over a connection of their own. See
/// https://zookeeper.apache.org/doc/r3.8.0/zookeeperAdmin.html#sc_zkCommands
enum FourLetterWord {
    /// The server's answer, or `nil` when none came within a second.
    static func ask(_ word: String, port: Int) async -> String? {
        await withCheckedContinuation { continuation in
            // Sockets that block, for a second at the most, off the pool of Swift's tasks.
            DispatchQueue.global().async { continuation.resume(returning: exchange(word, port: port)) }
        }
    }

    private static func exchange(_ word: String, port: Int) -> String? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var second = timeval(tv_sec: 1, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &second, socklen_t(MemoryLayout<timeval>.size))
        }
        guard withLoopback(port, { connect(descriptor, $0, $1) }) == 0 else { return nil }
        let bytes = Array(word.utf8)
        guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else { return nil }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while answer.count < 1 << 20 {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count <= 0 { break }
            answer += buffer[..<count]
        }
        return answer.isEmpty ? nil : String(decoding: answer, as: UTF8.self)
    }
}
