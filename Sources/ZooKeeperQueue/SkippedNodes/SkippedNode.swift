/// A node that this process cannot handle and skips. See ``MessageQueue/skippedNodes()``.
public struct SkippedNode: Sendable, Hashable {
    /// Why a node is skipped.
    public struct Reason: Sendable, Hashable, CustomStringConvertible {
        /// What is wrong with the node.
        public let description: String
        /// What to do about the node.
        public let remedy: String

        /// The access control list does not permit this client to read or delete the node.
        public static let permissionDenied = Reason(
            description: "the client has no permission to use it",
            remedy: "grant the queue's clients all permissions on it, or delete it as its owner")
        /// The node has children, so it cannot be deleted.
        public static let hasChildren = Reason(
            description: "it has children, so it cannot be moved or deleted", remedy: "delete its children")
        /// The node does not fit into one request.
        public static let tooLarge = Reason(
            description: "it does not fit into one request",
            remedy: "raise the client's maximumRequestSize and the servers' jute.maxbuffer, or delete it")
        /// The node's name does not follow the format of message names.
        public static let unknownName = Reason(
            description: "its name is not the name of a message", remedy: "delete it, unless another program needs it")
        /// This release cannot decode the node's data.
        public static let unknownContent = Reason(
            description: "this release does not know the format of its data",
            remedy: "use the release that wrote it, or delete it")
        /// A position in the wait queue of idle consumers belongs to no session.
        public static let notEphemeral = Reason(
            description: "it is not ephemeral, so it belongs to no live consumer", remedy: "delete it")
        /// This consumer holds a message with the same name. Names repeat after a rollover, and foreign producers
        /// choose their own.
        static let nameInUse = Reason(
            description: "this consumer holds another message with that name",
            remedy: "none is needed: it is claimed once the other message is settled")
        /// The connection breaks whenever a request for this node is sent.
        static func connectionClosed(bytes: Int) -> Reason {
            Reason(
                description: "the server closes the connection at a request of \(bytes) bytes",
                remedy: "raise the servers' jute.maxbuffer above the client's maximumRequestSize, or delete it")
        }
        static func refused(_ message: String) -> Reason {
            Reason(description: "ZooKeeper refuses to handle it: \(message)", remedy: "delete it")
        }
    }

    /// The path of the node, below the client's chroot.
    public let path: String
    /// Why the node is skipped.
    public let reason: Reason
}
