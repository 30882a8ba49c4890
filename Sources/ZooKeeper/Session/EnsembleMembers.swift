/// The client addresses of an ensemble's servers, from the node `/zookeeper/config`. Its lines have the form
/// `server.1=host:quorum-port:election-port:role;client-host:client-port`, and the last one is a version.
struct EnsembleMembers: Sendable, Hashable {
    static let path = "/zookeeper/config"

    /// `host:port,…` for the transport.
    let servers: String

    /// Parses the data of the node.
    ///
    /// - Returns: `nil` unless every server has a client address. A server in a configuration of the old form has none.
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
        // The server listens on all its addresses, including the one at which the other servers reach it.
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
