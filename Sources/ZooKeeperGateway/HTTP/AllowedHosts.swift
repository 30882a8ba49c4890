import HTTPTypes
import NIOCore

/// The hosts that requests may be for. A site can let its own name point to the gateway, and its page can then read the
/// gateway's answers through a visitor's browser (DNS rebinding). An address, or a name that cannot be registered, is
/// no site's name.
struct AllowedHosts: Sendable {
    /// Lower-case names; `nil` when any may be asked for.
    private let names: Set<String>?

    init(_ configuration: GatewayConfiguration) {
        // The browser sends no password to a page under another name, and takes no certificate of another name.
        let isProtected =
            configuration.tls != nil
            || configuration.endpoints.allSatisfy { !$0.users.isEmpty || !configuration.users.isEmpty }
        let isOpen = configuration.allowedHosts.isEmpty ? isProtected : configuration.allowedHosts.contains("*")
        names = isOpen ? nil : Set((configuration.allowedHosts + [configuration.host]).map { $0.lowercased() })
    }

    /// Domains that are reserved for a machine or a network, so that no site is below them.
    private static let privateDomains = [".localhost", ".local", ".internal"]

    /// - Parameter authority: a host and maybe a port, in ASCII.
    func allow(_ authority: String) -> Bool {
        guard let names else { return true }
        // Only a literal of IPv6 has a bracket.
        if authority.hasPrefix("[") { return true }
        var host = authority.lowercased()
        if let colon = host.lastIndex(of: ":") { host = String(host[..<colon]) }
        if host.hasSuffix(".") { host.removeLast() }
        return !host.contains(".") || names.contains(host) || Self.privateDomains.contains { host.hasSuffix($0) }
            || (try? SocketAddress(ipAddress: host, port: 0)) != nil
    }
}
