import ZooKeeper

extension JuteWriter {
    /// Writes a request as a packet.
    mutating func write(_ request: Request, xid: Int32) {
        packet { writer in
            writer.write(xid)
            writer.write(request.opCode)
            switch request {
            case .create(let path, let data, let mode, let acl):
                writer.create(path, data, mode, acl)
                if let ttl = mode.timeToLive { writer.write(Int64(ttl.milliseconds)) }
            case .delete(let path, let version):
                writer.write(path)
                writer.write(version ?? -1)
            case .exists(let path, let watch), .get(let path, let watch), .children(let path, let watch):
                writer.write(path)
                writer.write(watch)
            case .set(let path, let data, let version):
                writer.write(path)
                writer.write(data)
                writer.write(version ?? -1)
            case .getACL(let path), .sync(let path): writer.write(path)
            case .setACL(let path, let acl, let version):
                writer.write(path)
                writer.write(acl)
                writer.write(version ?? -1)
            case .reconfigure(let joining, let leaving):
                writer.write(joining)
                writer.write(leaving)
                writer.write(String?.none)
                // Any current configuration.
                writer.write(Int64(-1))
            case .multi(let operations):
                for operation in operations { writer.write(operation) }
                writer.multiHeader(OpCode.error, isEnd: true)
            case .addWatch(let path, let isRecursive):
                writer.write(path)
                // ZooKeeper's `AddWatchMode`.
                writer.write(isRecursive ? Int32(1) : 0)
            case .whoAmI: break
            case .multiRead(let paths):
                for path in paths {
                    writer.multiHeader(OpCode.getData)
                    writer.write(path)
                    writer.write(false)
                }
                writer.multiHeader(OpCode.error, isEnd: true)
            }
        }
    }

    /// Writes the request for the removal of the session's watches on a path.
    mutating func removeWatches(_ key: WatchKey, xid: Int32) {
        packet { writer in
            writer.write(xid)
            writer.write(OpCode.removeWatches)
            writer.write(key.path)
            // ZooKeeper's `WatcherType`: the watches of children, of data and existence, or all. Servers before 3.9
            // have no type for persistent watches.
            writer.write(key.kind == .children ? Int32(1) : key.kind == .data || key.kind == .existence ? 2 : 3)
        }
    }

    /// Writes a request that has no content.
    mutating func write(_ opCode: Int32, xid: Int32) {
        packet { writer in
            writer.write(xid)
            writer.write(opCode)
        }
    }

    mutating func auth(scheme: String, credentials: String) {
        packet { writer in
            writer.write(ReservedXID.auth)
            writer.write(OpCode.auth)
            writer.write(Int32(0))
            writer.write(scheme)
            writer.write(Array(credentials.utf8))
        }
    }

    /// Sets watches again on a new connection. A watch whose event happened since `zxid` fires at once.
    ///
    /// In several packets, because a server refuses one of more than a mebibyte (`jute.maxbuffer`).
    mutating func setWatches(_ keys: [WatchKey], since zxid: Int64, packetSize: Int = 128 << 10) {
        var rest = keys[...]
        while !rest.isEmpty {
            var size = 0
            let chunk = rest.prefix { key in
                defer { size += 4 + key.path.utf8.count }
                return size < packetSize
            }
            rest = rest.dropFirst(chunk.count)
            packet { writer in
                writer.write(ReservedXID.setWatches)
                writer.write(OpCode.setWatches2)
                writer.write(zxid)
                for kind in [WatchKey.Kind.data, .existence, .children, .persistent, .recursive] {
                    writer.write(chunk.filter { $0.kind == kind }) { $0.write($1.path) }
                }
            }
        }
    }

    private mutating func write(_ operation: ZooKeeperOperation) {
        switch operation {
        case .create(let path, let data, let mode, let acl):
            multiHeader(OpCode.create)
            create(path, data, mode, acl ?? .open)
        case .delete(let path, let version):
            multiHeader(OpCode.delete)
            write(path)
            write(version ?? -1)
        case .set(let path, let data, let version):
            multiHeader(OpCode.setData)
            write(path)
            write(data)
            write(version ?? -1)
        case .check(let path, let version):
            multiHeader(OpCode.check)
            write(path)
            write(version ?? -1)
        }
    }

    private mutating func multiHeader(_ type: Int32, isEnd: Bool = false) {
        write(type)
        write(isEnd)
        write(Int32(-1))
    }

    private mutating func create(_ path: String, _ data: [UInt8]?, _ mode: CreateMode, _ acl: [ACL]) {
        write(path)
        write(data)
        write(acl)
        write(mode.flags)
    }

    private mutating func write(_ acl: [ACL]) {
        write(acl) { writer, entry in
            writer.write(entry.permissions.rawValue)
            writer.write(entry.scheme)
            writer.write(entry.id)
        }
    }
}

extension Request {
    fileprivate var opCode: Int32 {
        switch self {
        case .create(_, _, let mode, _):
            mode.timeToLive != nil ? OpCode.createTTL : mode == .container ? OpCode.createContainer : OpCode.create2
        case .delete: OpCode.delete
        case .exists: OpCode.exists
        case .get: OpCode.getData
        case .children: OpCode.getChildren2
        case .set: OpCode.setData
        case .getACL: OpCode.getACL
        case .setACL: OpCode.setACL
        case .sync: OpCode.sync
        case .reconfigure: OpCode.reconfigure
        case .multi: OpCode.multi
        case .multiRead: OpCode.multiRead
        case .addWatch: OpCode.addWatch
        case .whoAmI: OpCode.whoAmI
        }
    }
}
