/// A server's answer, copied out of the library's memory.
package enum Reply: Sendable {
    case done
    case created(CreatedNode)
    case stat(Stat)
    case node(Node)
    case children(NodeChildren)
    case acl(NodeACL)
    case multi([OperationResult])
}

/// What came back for a request: an answer, or an error.
typealias ReplyResult = Result<Reply, any Error>
