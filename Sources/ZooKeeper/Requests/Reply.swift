/// A server's response, copied from the memory of the C client.
package enum Reply: Sendable {
    case done
    case created(CreatedNode)
    case stat(Stat)
    case node(Node)
    case children(NodeChildren)
    case acl(NodeACL)
    case multi([OperationResult])
}

/// The result of a request: a response or an error.
typealias ReplyResult = Result<Reply, any Error>
