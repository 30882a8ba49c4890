import Dispatch
import Glibc

/// ZooKeeper's four-letter commands, each on its own connection. See
/// https://zookeeper.apache.org/doc/r3.8.0/zookeeperAdmin.html#sc_zkCommands
package enum FourLetterWord {
    /// Returns the server's response, or `nil` when there is none within the given seconds.
    package static func ask(
        _ word: String, host: String = "127.0.0.1", port: Int, seconds: Int = 1
    ) async -> String? {
        await withCheckedContinuation { continuation in
            // Each socket call blocks for up to the given seconds, so this runs outside Swift's thread pool.
            DispatchQueue.global().async {
                continuation.resume(returning: exchange(word, host: host, port: port, seconds: seconds))
            }
        }
    }

    private static func exchange(_ word: String, host: String, port: Int, seconds: Int) -> String? {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var addresses: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, "\(port)", &hints, &addresses) == 0 else { return nil }
        defer { freeaddrinfo(addresses) }
        var next = addresses
        while let address = next?.pointee {
            if let response = exchange(word, address, seconds: seconds) { return response }
            next = address.ai_next
        }
        return nil
    }

    private static func exchange(_ word: String, _ address: addrinfo, seconds: Int) -> String? {
        let descriptor = socket(address.ai_family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        guard connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 else { return nil }
        let bytes = Array(word.utf8)
        guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else { return nil }
        let end = ContinuousClock.now + .seconds(seconds)
        var response: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while response.count < 1 << 20, ContinuousClock.now < end {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count <= 0 { break }
            response += buffer[..<count]
        }
        return response.isEmpty ? nil : String(decoding: response, as: UTF8.self)
    }
}
