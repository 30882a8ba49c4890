import ZooKeeper

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// How to connect to gateways, what they must support, and limits. Every value but the gateways has a default.
public struct RESTConfiguration: Sendable {
    /// What to do at a gateway that does not advertise transactions and watches.
    public enum Guarantee: Sendable, Hashable {
        /// Refuses the gateway (`ZooKeeperError/Code/unimplemented`), so that the queue's guarantee holds without
        /// exception.
        case transactional
        /// Carries out transactions in steps, and polls instead of watching. Nothing is lost. A failure between two
        /// steps can leave a message twice, and a lease with two consumers. See <doc:TheLibraryOverREST>.
        case atLeastOnce
    }

    /// The gateways' addresses, such as `http://127.0.0.1:9998`, followed by the endpoint's path if it has one. The
    /// store tries them in turn, and opens a session at the first that answers. All must serve the same part of the
    /// same ensemble.
    public var gateways: [String]
    /// What to do at a gateway that advertises less than the full guarantee needs. A gateway that advertises all of it
    /// always provides it. Default: ``Guarantee/transactional``.
    public var guarantee: Guarantee
    /// The user's name and password for HTTP basic authentication; use them with https. Default: none.
    public var credentials: Credentials?
    /// How long a gateway keeps a session without a heartbeat, in whole seconds: 1 second to a day. The gateway's
    /// session at the ensemble has a separate timeout, and the shorter one counts. Default: 10 seconds.
    public var sessionTimeout = Duration.seconds(10)
    /// How long a call waits for a gateway and its response before it throws `ZooKeeperError/Code/deadlineExceeded`.
    /// While there is no session, the call first waits as long for one. Without transactions, the limit applies to each
    /// step. Default: 30 seconds.
    public var requestTimeout = Duration.seconds(30)
    /// The largest request in bytes, 1,024 to 1,048,575, as for ZooKeeper's client. It counts the bytes of the nodes,
    /// not their encoding in HTTP. A gateway advertises its limit, and a gateway with a lower limit is refused.
    /// Default: 524,288.
    public var maximumRequestSize = 512 << 10
    /// How often to poll a gateway that has no watches. Default: one second.
    public var pollInterval = Duration.seconds(1)

    /// A user's name and password.
    public struct Credentials: Sendable, Hashable, CustomStringConvertible {
        let user: ExactString
        let password: ExactString

        /// Creates credentials.
        public init(user: String, password: String) {
            self.user = ExactString(user)
            self.password = ExactString(password)
        }

        /// The value of the `Authorization` header.
        var authorization: String {
            "Basic " + Data("\(user.string):\(password.string)".utf8).base64EncodedString()
        }

        /// The name of the type, because credentials are never shown.
        public var description: String { "Credentials" }
    }

    /// Creates a configuration. The other properties can be set afterwards.
    public init(gateways: [String], guarantee: Guarantee = .transactional, credentials: Credentials? = nil) {
        self.gateways = gateways
        self.guarantee = guarantee
        self.credentials = credentials
    }

    func validate() throws {
        func require(_ condition: Bool, _ message: String) throws {
            if condition { return }
            throw ZooKeeperError(code: .invalidArgument, message: message, path: nil, outcome: .notApplied)
        }
        try require(!gateways.isEmpty, "No gateway is configured. Add at least one address to gateways.")
        for gateway in gateways {
            let url = URLComponents(string: gateway)
            try require(
                ["http", "https"].contains(url?.scheme) && url?.host?.isEmpty == false && url?.query == nil
                    && url?.fragment == nil && url?.user == nil,
                "A gateway address is not valid. Use one like http://127.0.0.1:9998, without a query or credentials.")
        }
        try require(
            sessionTimeout >= .seconds(1) && sessionTimeout <= .seconds(86_400)
                && sessionTimeout.components.attoseconds == 0,
            "sessionTimeout must be a whole number of seconds, from 1 second to 1 day.")
        try require(
            requestTimeout > .zero && requestTimeout <= .seconds(86_400),
            "requestTimeout must be above 0, and at most 1 day.")
        try require(
            (1_024...1_048_575).contains(maximumRequestSize),
            "maximumRequestSize must be from 1,024 to 1,048,575 bytes.")
        try require(
            pollInterval >= .milliseconds(10) && pollInterval <= .seconds(3_600),
            "pollInterval must be from 10 milliseconds to 1 hour.")
        try require(
            credentials?.user.string.utf8.contains(UInt8(ascii: ":")) != true,
            "The user name must not contain a colon.")
    }
}
