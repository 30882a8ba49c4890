package import ZooKeeper

#if canImport(FoundationEssentials)
package import FoundationEssentials
#else
package import Foundation
#endif

// The ZooKeeper client's values as they are written in JSON.

/// Bytes, which JSON holds in base64.
package typealias Octets = Data

/// A node's metadata, as a list of numbers in the order in which ZooKeeper sends them.
package struct WireStat: Codable, Sendable, Hashable {
    package let stat: Stat

    package init(_ stat: Stat) { self.stat = stat }

    package init(from decoder: any Decoder) throws {
        var list = try decoder.unkeyedContainer()
        stat = Stat(
            czxid: try list.decode(Int64.self), mzxid: try list.decode(Int64.self), pzxid: try list.decode(Int64.self),
            ctime: try list.decode(Int64.self), mtime: try list.decode(Int64.self),
            version: try list.decode(Int32.self), cversion: try list.decode(Int32.self),
            aversion: try list.decode(Int32.self), ephemeralOwner: try list.decode(Int64.self),
            dataLength: try list.decode(Int32.self), numChildren: try list.decode(Int32.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var list = encoder.unkeyedContainer()
        for number in [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime] { try list.encode(number) }
        for number in [stat.version, stat.cversion, stat.aversion] { try list.encode(number) }
        try list.encode(stat.ephemeralOwner)
        for number in [stat.dataLength, stat.numChildren] { try list.encode(number) }
    }
}

package struct WireNode: Codable, Sendable, Hashable {
    package var data: Octets?
    package var stat: WireStat

    package init(_ node: Node) {
        data = node.data.map { Data($0) }
        stat = WireStat(node.stat)
    }

    package var node: Node { Node(data: data.map { [UInt8]($0) }, stat: stat.stat) }
}

package struct WireChildren: Codable, Sendable, Hashable {
    package var names: [String]
    package var stat: WireStat

    package init(_ children: NodeChildren) {
        names = children.names
        stat = WireStat(children.stat)
    }

    package var children: NodeChildren { NodeChildren(names: names, stat: stat.stat) }
}

package struct WireACL: Codable, Sendable, Hashable {
    package var permissions: Int32
    package var scheme: String
    package var id: String

    package init(_ acl: ACL) {
        (permissions, scheme, id) = (acl.permissions.rawValue, acl.scheme, acl.id)
    }

    package var acl: ACL { ACL(.init(rawValue: permissions), scheme: scheme, id: id) }
}

package enum WireMode: String, Codable, Sendable {
    case persistent, ephemeral, persistentSequential, ephemeralSequential

    /// - Returns: `nil` for a container node, and for a node with a time to live.
    package init?(_ mode: CreateMode) {
        switch mode {
        case .persistent: self = .persistent
        case .ephemeral: self = .ephemeral
        case .persistentSequential: self = .persistentSequential
        case .ephemeralSequential: self = .ephemeralSequential
        default: return nil
        }
    }

    package var mode: CreateMode {
        switch self {
        case .persistent: .persistent
        case .ephemeral: .ephemeral
        case .persistentSequential: .persistentSequential
        case .ephemeralSequential: .ephemeralSequential
        }
    }
}

package enum WireOperation: Codable, Sendable {
    case create(path: String, data: Octets?, mode: WireMode, acl: [WireACL]?)
    case delete(path: String, version: Int32?)
    case set(path: String, data: Octets?, version: Int32?)
    case check(path: String, version: Int32?)

    /// - Returns: `nil` for a `create` whose mode ``WireMode`` lacks.
    package init?(_ operation: ZooKeeper.ZooKeeperOperation) {
        switch operation {
        case .create(let path, let data, let mode, let acl):
            guard let mode = WireMode(mode) else { return nil }
            self = .create(path: path, data: data.map { Data($0) }, mode: mode, acl: acl?.map(WireACL.init))
        case .delete(let path, let version): self = .delete(path: path, version: version)
        case .set(let path, let data, let version):
            self = .set(path: path, data: data.map { Data($0) }, version: version)
        case .check(let path, let version): self = .check(path: path, version: version)
        }
    }

    package var operation: ZooKeeper.ZooKeeperOperation {
        switch self {
        case .create(let path, let data, let mode, let acl):
            .create(path, data: data.map { [UInt8]($0) }, mode: mode.mode, acl: acl?.map(\.acl))
        case .delete(let path, let version): .delete(path, version: version)
        case .set(let path, let data, let version): .set(path, data: data.map { [UInt8]($0) }, version: version)
        case .check(let path, let version): .check(path, version: version)
        }
    }
}

package enum WireResult: Codable, Sendable {
    case created(path: String)
    case deleted
    case set(stat: WireStat)
    case checked

    package init(_ result: OperationResult) {
        switch result {
        case .created(let path): self = .created(path: path)
        case .deleted: self = .deleted
        case .set(let stat): self = .set(stat: WireStat(stat))
        case .checked: self = .checked
        }
    }

    package var result: OperationResult {
        switch self {
        case .created(let path): .created(path: path)
        case .deleted: .deleted
        case .set(let stat): .set(stat.stat)
        case .checked: .checked
        }
    }
}

package struct WireError: Codable, Sendable {
    package var code: Int32
    package var message: String
    package var path: String?
    package var operationIndex: Int?
    package var isUnknown: Bool

    package init(_ error: ZooKeeperError) {
        code = error.code.rawValue
        message = error.message
        path = error.path
        operationIndex = error.operationIndex
        isUnknown = error.outcome == .unknown
    }

    package var error: ZooKeeperError {
        ZooKeeperError(
            code: .init(rawValue: code), message: message, path: path, operationIndex: operationIndex,
            outcome: isUnknown ? .unknown : .notApplied)
    }
}
