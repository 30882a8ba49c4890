import ZooKeeper

/// How to read the response to a request.
enum ReplyFormat: Sendable, Equatable {
    case empty
    case created
    case stat
    case node
    case children
    case acl
    /// The path that a `sync` repeats.
    case path
    /// The operations of a multi.
    case multi([ZooKeeperOperation])
    /// The number of nodes of a multi-read.
    case nodes(Int)
    /// The error code that the response to `addWatch` repeats.
    case code
    case identities

    init(_ request: Request) {
        switch request {
        case .create: self = .created
        case .delete: self = .empty
        case .exists, .set, .setACL: self = .stat
        case .get, .reconfigure: self = .node
        case .children: self = .children
        case .getACL: self = .acl
        case .sync: self = .path
        case .multi(let operations): self = .multi(operations)
        case .multiRead(let paths): self = .nodes(paths.count)
        case .addWatch: self = .code
        case .whoAmI: self = .identities
        }
    }
}

extension JuteReader {
    /// Reads the record of a successful response.
    ///
    /// - Returns: The error of a multi's failed operation, and the reply.
    mutating func reply(_ format: ReplyFormat) throws(ProtocolError) -> (error: ZooKeeperError.Code?, reply: Reply) {
        let reply: Reply
        switch format {
        case .empty: reply = .done
        case .created: reply = .created(CreatedNode(path: try string(), stat: try stat()))
        case .stat: reply = .stat(try stat())
        case .node: reply = .node(Node(data: try buffer(), stat: try stat()))
        case .children:
            let names = try vector(minimumSize: 4) { reader throws(ProtocolError) in try reader.string() }
            reply = .children(NodeChildren(names: names, stat: try stat()))
        case .acl:
            let entries = try vector(minimumSize: 12) { reader throws(ProtocolError) in
                ACL(
                    ACL.Permissions(rawValue: try reader.int32()), scheme: try reader.string(),
                    id: try reader.string())
            }
            reply = .acl(NodeACL(entries: entries, stat: try stat()))
        case .path:
            _ = try string()
            reply = .done
        case .multi(let operations): return try multi(operations)
        case .nodes(let count): reply = .nodes(try nodes(count))
        case .code:
            _ = try int32()
            reply = .done
        case .identities:
            reply = .identities(
                try vector(minimumSize: 8) { reader throws(ProtocolError) in
                    ClientIdentity(scheme: try reader.string(), user: try reader.string())
                })
        }
        try end()
        return (nil, reply)
    }

    mutating func stat() throws(ProtocolError) -> Stat {
        var stat = Stat()
        stat.czxid = try int64()
        stat.mzxid = try int64()
        stat.ctime = try int64()
        stat.mtime = try int64()
        stat.version = try int32()
        stat.cversion = try int32()
        stat.aversion = try int32()
        stat.ephemeralOwner = try int64()
        stat.dataLength = try int32()
        stat.numChildren = try int32()
        stat.pzxid = try int64()
        return stat
    }

    /// Reads the results of a multi, one for each operation. In a failed multi, each is an error: 0 for the operations
    /// before the failed one, its code, and -2 for those after it.
    private mutating func multi(
        _ operations: [ZooKeeperOperation]
    ) throws(ProtocolError) -> (error: ZooKeeperError.Code?, reply: Reply) {
        var results: [OperationResult] = []
        results.reserveCapacity(operations.count)
        var failure: (index: Int, error: ZooKeeperError.Code)?
        for (index, operation) in operations.enumerated() {
            let type = try multiHeader()
            if type == OpCode.error {
                if let error = ZooKeeperError.Code(result: try int32()), failure == nil, error != .runtimeInconsistency
                {
                    failure = (index, error)
                }
                continue
            }
            switch (operation, type) {
            case (.create, OpCode.create): results.append(.created(path: try string()))
            case (.create, OpCode.create2):
                results.append(.created(path: try string()))
                _ = try stat()
            case (.delete, OpCode.delete): results.append(.deleted)
            case (.set, OpCode.setData): results.append(.set(try stat()))
            case (.check, OpCode.check): results.append(.checked)
            default: throw .unexpectedResult(type)
            }
        }
        let last = try multiHeader()
        guard last == OpCode.error else { throw .unexpectedResult(last) }
        try end()
        if let failure { return (failure.error, .multiFailed(at: failure.index)) }
        guard results.count == operations.count else { throw .unexpectedResult(OpCode.error) }
        return (nil, .multi(results))
    }

    private mutating func nodes(_ count: Int) throws(ProtocolError) -> [NodeResult] {
        var results: [NodeResult] = []
        results.reserveCapacity(count)
        for _ in 0..<count {
            let type = try multiHeader()
            switch type {
            case OpCode.getData: results.append(.node(Node(data: try buffer(), stat: try stat())))
            case OpCode.error: results.append(.failed(ZooKeeperError.Code(rawValue: try int32())))
            default: throw .unexpectedResult(type)
            }
        }
        let last = try multiHeader()
        guard last == OpCode.error else { throw .unexpectedResult(last) }
        return results
    }

    private mutating func multiHeader() throws(ProtocolError) -> Int32 {
        let type = try int32()
        _ = try bool()
        _ = try int32()
        return type
    }

    /// Reads a watch event. `nil` for one that is not about a node, or of a type that this client does not know.
    mutating func watchEvent() throws(ProtocolError) -> WatchEvent? {
        let type = try int32()
        // The state, which is always "connected".
        _ = try int32()
        let path = try string()
        try end()
        return switch type {
        case 1: WatchEvent(kind: .created, path: path)
        case 2: WatchEvent(kind: .deleted, path: path)
        case 3: WatchEvent(kind: .dataChanged, path: path)
        case 4: WatchEvent(kind: .childrenChanged, path: path)
        default: nil
        }
    }
}
