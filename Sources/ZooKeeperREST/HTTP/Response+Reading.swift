import ZooKeeper

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

extension RESTTransport.Response {
    private struct ErrorBody: Decodable { let message: String }

    func decoded<T: Decodable>(as type: T.Type) -> T? { try? JSONDecoder().decode(type, from: Data(body)) }

    /// The gateway's message for an error; `nil` when something other than a gateway has answered.
    var message: String? { decoded(as: ErrorBody.self)?.message }

    /// Whether the failure may be temporary: the gateway is busy, or cannot reach the ensemble.
    var isTransient: Bool { [408, 425, 429].contains(status) || status >= 500 }

    /// Whether the gateway does not know the session. A 401 for a node has a body.
    var isUnknownSession: Bool { status == 401 && body.isEmpty }

    /// Whether an access control list, or the gateway, denies the request. Apache's gateway has no separate status for
    /// that, and quotes ZooKeeper's code.
    var isPermissionDenied: Bool {
        status == 401 && !body.isEmpty
            || status >= 500 && message?.contains("KeeperErrorCode = NoAuth") == true
    }

    /// The status and the beginning of the body, for an error message. Its length is limited, and everything but plain
    /// ASCII is escaped, because anything may have sent it. The `request` member of an error is left out, because it
    /// holds the session's ID.
    var quoted: String {
        let limit = 200
        let bytes = message.map { Array($0.utf8) } ?? body
        guard !bytes.isEmpty else { return "\(status) without a body" }
        let text = String(decoding: bytes.prefix(limit), as: UTF8.self)
        let escaped = text.unicodeScalars.map { $0.escaped(asASCII: true) }.joined()
        return "\(status) \"\(escaped)\(bytes.count > limit ? "…" : "")\""
    }

    /// Returns the error for a response that cannot be understood.
    ///
    /// - Parameter outcome: whether the gateway may have carried out the request.
    func unreadable(_ outcome: ZooKeeperError.Outcome) -> ZooKeeperError {
        ZooKeeperError(
            code: .unreadableResponse,
            message:
                "The response did not come from a gateway: \(quoted). Check the gateway's address, and any proxy in "
                + "front of the gateway.",
            path: nil, outcome: outcome)
    }
}
