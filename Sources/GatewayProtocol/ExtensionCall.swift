#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The body of `POST /extensions/v1`.
package struct ExtensionRequest: Codable, Sendable {
    /// The ID of the REST session in which the call runs.
    package var session: String
    /// The number of a write within its session. Numbers increase, and a gateway refuses a write that arrives after one
    /// with a higher number, because a client that sends another write has given up on the earlier one.
    package var number: Int?
    package var call: ExtensionCall

    package init(session: String, number: Int?, call: ExtensionCall) {
        self.session = session
        self.number = number
        self.call = call
    }

    package func encoded() throws -> [UInt8] {
        let encoder = JSONEncoder()
        // Base64 contains slashes too.
        encoder.outputFormatting = .withoutEscapingSlashes
        return [UInt8](try encoder.encode(self))
    }
}

/// A call that a client sends.
package enum ExtensionCall: Codable, Sendable {
    /// Keeps the session alive, and checks that an ensemble server answers.
    case heartbeat
    case get(paths: [String])
    case exists(path: String)
    case children(path: String)
    case acl(path: String)
    case bytes(path: String)
    case countBytes(path: String)
    /// Returns the node when its revision differs from `after`, or when the time is over.
    case awaitNode(path: String, after: Revision?, seconds: Int)
    /// Does the same for the names of the node's children.
    case awaitChildren(path: String, after: Revision?, seconds: Int)
    case sync(path: String)
    case create(path: String, data: Octets?, mode: WireMode)
    case set(path: String, data: Octets?, version: Int32?)
    case delete(path: String, version: Int32?)
    case multi(operations: [WireOperation])

    /// The revision of a node: the zxids of its creation and of its last change (for children, the last change of the
    /// list). `nil` stands for a node that does not exist.
    package struct Revision: Codable, Sendable, Hashable {
        package var created: Int64
        package var changed: Int64

        package init(created: Int64, changed: Int64) {
            self.created = created
            self.changed = changed
        }
    }

    /// The maximum number of nodes that one call may request.
    package static let maximumPaths = 1_000

    /// The longest wait in seconds.
    package static let maximumWait = 30

    /// Whether the call changes something, or is ordered with the session's writes.
    package var isWrite: Bool {
        switch self {
        case .sync, .create, .set, .delete, .multi, .countBytes: true
        case .heartbeat, .get, .exists, .children, .acl, .bytes, .awaitNode, .awaitChildren: false
        }
    }
}

/// A gateway's reply to a call.
package enum ExtensionReply: Codable, Sendable {
    /// The session's ID at the ensemble, and its timeout in milliseconds.
    case session(owner: Int64, timeout: Int)
    /// The first of the requested nodes: as many as one response can hold, and at least one.
    case nodes(list: [WireNode?])
    case stat(stat: WireStat?)
    case children(children: WireChildren?)
    case acl(entries: [WireACL])
    case bytes(count: Int?)
    case created(path: String, stat: WireStat)
    case results(list: [WireResult])
    case done
    case failed(error: WireError)
}
