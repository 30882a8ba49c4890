import HTTPTypes
import ZooKeeper

/// The status and the message for a ``ZooKeeperError``: those of Apache's gateway, and 502, 503 and 504 where the
/// specification assigns them.
struct ErrorMapping {
    let status: HTTPResponse.Status
    let message: String

    /// - Parameters:
    ///   - path: the requested path.
    ///   - isConnected: whether a server is connected.
    init(_ error: ZooKeeperError, path: String, isConnected: Bool) {
        switch error.code {
        case .noNode: (status, message) = (.notFound, "\(path) not found")
        case .nodeExists: (status, message) = (.conflict, "\(path) already exists")
        case .notEmpty: (status, message) = (.conflict, "\(path) not empty")
        case .noChildrenForEphemerals: (status, message) = (.conflict, "\(path) has an ephemeral parent")
        case .badVersion: (status, message) = (.preconditionFailed, "\(path) bad version")
        case .invalidACL: (status, message) = (.badRequest, "\(path) invalid acl")
        case .badArguments, .invalidArgument: (status, message) = (.badRequest, "\(path) \(error.message)")
        case .authenticationFailed, .noAuth: (status, message) = (.unauthorized, "\(path) not authorized")
        case .requestTooLarge: (status, message) = (.contentTooLarge, "\(path) \(error.message)")
        case .deadlineExceeded:
            status = isConnected ? .gatewayTimeout : .serviceUnavailable
            message = "\(path) timed out\(Self.outcomeNote(error))"
        case .operationTimeout: (status, message) = (.gatewayTimeout, "\(path) timed out\(Self.outcomeNote(error))")
        case .connectionLoss, .sessionExpired, .sessionMoved, .closing, .closed, .overloaded, .throttled, .notReadOnly:
            (status, message) = (.serviceUnavailable, "\(path) service unavailable\(Self.outcomeNote(error))")
        default: (status, message) = (.badGateway, "Error processing request for \(path): \(error.message)")
        }
    }

    private static func outcomeNote(_ error: ZooKeeperError) -> String {
        error.outcome == .unknown ? "; the write may have been applied" : ""
    }
}
