/// A server's response.
package enum Reply: Sendable {
    case done
    case created(CreatedNode)
    case stat(Stat)
    case node(Node)
    case children(NodeChildren)
    case acl(NodeACL)
    case multi([OperationResult])
    /// The results of a read of several nodes, in the order of the paths.
    case nodes([NodeResult])
    case identities([ClientIdentity])
    /// The operation at the index made the multi fail, with the code of the response.
    case multiFailed(at: Int)
}

/// What the read of one of several nodes has found.
package enum NodeResult: Sendable, Hashable {
    case node(Node)
    case failed(ZooKeeperError.Code)
}

/// The result of a request: a response or an error.
typealias ReplyResult = Result<Reply, any Error>
