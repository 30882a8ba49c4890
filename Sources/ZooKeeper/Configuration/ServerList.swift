/// The validated parts of a connect string. The validation is necessary because the C client reads past
/// the end of a host without a port.
struct ServerList: Sendable, Hashable {
    /// `host:port,…` for the transport.
    let servers: String
    /// The chroot, or an empty string. The C client never receives it, because its own handling of a chroot frees
    /// memory twice; see "Sessions and credentials" in <doc:OverTheCClient>.
    let chroot: String

    init(parsing string: String) throws {
        func invalid(_ reason: String) -> ZooKeeperError {
            ZooKeeperError(
                code: .invalidArgument,
                message:
                    "Invalid server list \"\(string)\": \(reason). Write host:port,host:port, with IPv6 addresses in "
                    + "brackets and an optional chroot at the end: 10.0.0.1:2181,[::1]:2181/app.",
                path: nil, outcome: .notApplied)
        }
        let slash = string.utf8.firstIndex(of: UInt8(ascii: "/")) ?? string.endIndex
        var chroot = String(string[slash...])
        if chroot == "/" { chroot = "" }
        if !chroot.isEmpty { try NodePath.validate(chroot) }
        let hosts = string[..<slash].split(separator: ",", omittingEmptySubsequences: false)
        for host in hosts {
            guard let colon = host.lastIndex(of: ":"), let port = Int(host[host.index(after: colon)...]),
                (1...65_535).contains(port)
            else { throw invalid("each host needs a port from 1 to 65535") }
            let name = host[..<colon]
            let isBracketed = name.hasPrefix("[") && name.hasSuffix("]")
            let characters = isBracketed ? name.dropFirst().dropLast() : name
            if characters.isEmpty { throw invalid("a host has no name") }
            if !isBracketed, characters.contains(":") { throw invalid("an IPv6 address has no brackets") }
            guard characters.utf8.allSatisfy({ Self.isHostCharacter($0, allowsColon: isBracketed) }) else {
                throw invalid("a host name contains an invalid character")
            }
        }
        servers = hosts.joined(separator: ",")
        self.chroot = chroot
    }

    private static func isHostCharacter(_ byte: UInt8, allowsColon: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        case UInt8(ascii: ":"), UInt8(ascii: "%"): allowsColon
        default: false
        }
    }
}
