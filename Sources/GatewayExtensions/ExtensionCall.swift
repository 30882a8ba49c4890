#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The body of `POST /extensions/v1`.
package struct ExtensionRequest: Codable, Sendable {
    /// The name of the REST session in which the call is done.
    package var session: String
    /// Which write of the session it is. Numbers grow, and a gateway refuses one that comes late: whoever sends a second write has
    /// given the first one up.
    package var number: Int?
    package var call: ExtensionCall

    package init(session: String, number: Int?, call: ExtensionCall) {
        self.session = session
        self.number = number
        self.call = call
    }

    package func encoded() throws -> [UInt8] {
        let encoder = JSONEncoder()
        // Base64 has slashes too.
        encoder.outputFormatting = .withoutEscapingSlashes
        return [UInt8](try encoder.encode(self))
    }
}

/// What a client asks for.
package enum ExtensionCall: Codable, Sendable {
    /// The session shall live on, and has it a server that answers?
    case heartbeat
    case get(paths: [String])
    case exists(path: String)
    case children(path: String)
    case acl(path: String)
    case bytes(path: String)
    case countBytes(path: String)
    /// The node when it is another than the one of this mark, or when the time is over.
    case awaitNode(path: String, after: Mark?, seconds: Int)
    /// The same for the names of its children.
    case awaitChildren(path: String, after: Mark?, seconds: Int)
    case sync(path: String)
    case create(path: String, data: Octets?, mode: WireMode)
    case set(path: String, data: Octets?, version: Int32?)
    case delete(path: String, version: Int32?)
    case multi(operations: [WireOperation])

    /// By which a state is known again: the zxids of the node's creation and of its last change. Without one, there is no node.
    package struct Mark: Codable, Sendable, Hashable {
        package var created: Int64
        package var changed: Int64

        package init(created: Int64, changed: Int64) {
            self.created = created
            self.changed = changed
        }
    }

    /// How many nodes one call may ask for.
    package static let mostPaths = 1_000

    /// The longest wait in seconds.
    package static let longestWait = 30

    /// Whether it changes something, or stands in the order of the session's writes.
    package var isWrite: Bool {
        switch self {
        case .sync, .create, .set, .delete, .multi, .countBytes: true
        case .heartbeat, .get, .exists, .children, .acl, .bytes, .awaitNode, .awaitChildren: false
        }
    }
}

/// What a gateway answers.
package enum ExtensionReply: Codable, Sendable {
    /// The number of the session at the ensemble, and its timeout in milliseconds.
    case session(owner: Int64, timeout: Int)
    /// The first of the nodes that were asked for: as many as one answer may hold, and at least one.
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
