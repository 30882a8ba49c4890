import ZooKeeper

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

// The structures of ZooKeeper's REST interface, as far as they are read here. Apache's gateway omits an empty list, and
// data that is null. It always sends the path and the numbers, which identify a response of a gateway.

struct PathResponse: Decodable { let path: String }

struct ChildrenResponse: Decodable {
    let path: String
    let children: [String]?

    var names: [String] { children ?? [] }
}

struct NodeResponse: Decodable {
    let data64: Data?
    let czxid, mzxid, pzxid, ctime, mtime, ephemeralOwner: Int64
    let version, cversion, aversion, dataLength, numChildren: Int32

    var stat: Stat {
        Stat(
            czxid: czxid, mzxid: mzxid, pzxid: pzxid, ctime: ctime, mtime: mtime, version: version, cversion: cversion,
            aversion: aversion, ephemeralOwner: ephemeralOwner, dataLength: dataLength, numChildren: numChildren)
    }

    var node: Node { Node(data: data64.map { [UInt8]($0) }, stat: stat) }
}
