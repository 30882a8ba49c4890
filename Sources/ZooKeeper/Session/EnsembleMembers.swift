/// Where the members of an ensemble serve clients, as its node `/zookeeper/config` says it: lines of the form
/// `server.1=host:quorum-port:election-port:role;client-host:client-port`, and a version.
struct EnsembleMembers: Sendable, Hashable {
    static let path = "/zookeeper/config"

    /// `host:port,…` for the C client.
    let servers: String

    /// - Returns: `nil` unless every member says where it serves clients; one that stands in a configuration of the old form
    ///   does not.
    init?(_ configuration: [UInt8]?) {
        var addresses: [String] = []
        for line in String(decoding: configuration ?? [], as: UTF8.self).split(whereSeparator: \.isNewline)
        where line.hasPrefix("server.") {
            guard let address = Self.address(line) else { return nil }
            addresses.append(address)
        }
        guard !addresses.isEmpty, let list = try? ServerList(parsing: addresses.joined(separator: ",")) else {
            return nil
        }
        servers = list.servers
    }

    private static func address(_ line: Substring) -> String? {
        guard let start = line.firstIndex(of: "="), let end = line.lastIndex(of: ";"), start < end else { return nil }
        let client = line[line.index(after: end)...].trimming(while: \.isWhitespace)
        let colon = client.lastIndex(of: ":")
        let port = colon.map { client[client.index(after: $0)...] } ?? client
        let host = colon.map { client[..<$0] } ?? ""
        if !isUnspecified(host) { return "\(host):\(port)" }
        // It serves at all of its addresses, so at the one by which the others know it.
        guard let name = self.name(ofServer: line[line.index(after: start)..<end]) else { return nil }
        return "\(name):\(port)"
    }

    private static func isUnspecified(_ host: Substring) -> Bool {
        host.allSatisfy { "[]:.0".contains($0) }
    }

    private static func name(ofServer address: Substring) -> Substring? {
        let address = address.trimming(while: \.isWhitespace)
        if address.first == "[" { return address.firstIndex(of: "]").map { address[...$0] } }
        return address.firstIndex(of: ":").map { address[..<$0] }
    }
}

extension Substring {
    fileprivate func trimming(while predicate: (Character) -> Bool) -> Substring {
        var rest = drop(while: predicate)
        while let last = rest.last, predicate(last) { rest.removeLast() }
        return rest
    }
}
