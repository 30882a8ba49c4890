import HTTPTypes
import NIOCore

/// The host names that requests may use.
///
/// A site can make its own name point to the gateway, and its page can then read the gateway's responses through a
/// visitor's browser (DNS rebinding). An address, or a name that cannot be registered, is not the name of a site.
struct AllowedHosts: Sendable {
    /// The allowed names in lower case; `nil` when every name is allowed.
    private let names: Set<String>?

    init(_ configuration: GatewayConfiguration) {
        // A browser sends no password to a page under another name, and accepts no certificate of another name.
        let isProtected =
            configuration.tls != nil
            || configuration.endpoints.allSatisfy { !$0.users.isEmpty || !configuration.users.isEmpty }
        let isOpen = configuration.allowedHosts.isEmpty ? isProtected : configuration.allowedHosts.contains("*")
        names = isOpen ? nil : Set((configuration.allowedHosts + [configuration.host]).map { $0.lowercased() })
    }

    /// Domains that are reserved for a machine or a network. No site has a name below them.
    private static let privateDomains = [".localhost", ".local", ".internal"]

    /// Returns whether a request may be for a host.
    ///
    /// - Parameter authority: a host, optionally with a port, in ASCII.
    func allow(_ authority: String) -> Bool {
        guard let names else { return true }
        // Only an IPv6 literal has a bracket.
        if authority.hasPrefix("[") { return true }
        var host = authority.lowercased()
        if let colon = host.lastIndex(of: ":") { host = String(host[..<colon]) }
        if host.hasSuffix(".") { host.removeLast() }
        return !host.contains(".") || names.contains(host) || Self.privateDomains.contains { host.hasSuffix($0) }
            || (try? SocketAddress(ipAddress: host, port: 0)) != nil
    }
}
