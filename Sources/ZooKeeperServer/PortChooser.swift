package import Glibc

/// Finds free ports on loopback.
///
/// The ports are below the range that the kernel uses for outgoing connections, so a server that is
/// started again finds its port free.
struct PortChooser {
    private var taken: Set<Int> = []

    /// Returns a free port, a different one each time.
    mutating func free() throws -> Int {
        for _ in 0..<1_000 {
            let port = Int.random(in: 10_000..<32_000)
            if !taken.contains(port), Self.isFree(port) {
                taken.insert(port)
                return port
            }
        }
        throw LocalServerError(description: "No free port was found on loopback. Try again.")
    }

    /// Reserves the given port.
    ///
    /// - Throws: ``LocalServerError`` when the port is taken or is not a valid number.
    mutating func reserve(_ port: Int) throws -> Int {
        guard (1...65_535).contains(port) else {
            throw LocalServerError(description: "A port must be from 1 to 65535, not \(port).")
        }
        guard !taken.contains(port), Self.isFree(port) else {
            throw LocalServerError(
                description: "Port \(port) is in use. Choose another port, or leave it out to get a free one.")
        }
        taken.insert(port)
        return port
    }

    private static func isFree(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var reuse: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &reuse, socklen_t(MemoryLayout<Int32>.size))
        return withLoopback(port) { bind(descriptor, $0, $1) == 0 }
    }
}

/// Calls `body` with the address of a port of 127.0.0.1.
package func withLoopback<T>(_ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> T) -> T {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(UInt16(truncatingIfNeeded: port)).bigEndian
    address.sin_addr = in_addr(s_addr: UInt32(0x7F00_0001).bigEndian)
    return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
}
