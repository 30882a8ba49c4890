/// The paths of a queue's nodes. They are a wire format; the README draws the tree.
struct QueueTree: Sendable, Hashable {
    let root: String

    /// Messages that are ready.
    var items: String { root + "/items" }
    /// Ready messages from before the server's numbers began anew.
    var earlier: String { root + "/earlier" }
    /// How often the server's numbers have begun anew.
    var epoch: String { root + "/epoch" }
    /// Messages of failed consumers, not yet given back.
    var partial: String { root + "/partial" }
    /// Registered consumers.
    var consumers: String { root + "/consumers" }
    /// Messages that were given up.
    var dead: String { root + "/dead" }
    /// Producers' lanes.
    var producers: String { root + "/producers" }
    /// Idle consumers, in line.
    var idle: String { root + "/idle" }
    /// The ids of messages that were sent with one.
    var ids: String { root + "/ids" }
    /// The recovery that acts now.
    var recoveryLock: String { root + "/gc-lock" }

    /// What all members must agree on.
    var settings: String { root + "/settings" }

    func item(_ name: String) -> String { "\(items)/\(name)" }
    func earlier(_ name: String) -> String { "\(earlier)/\(name)" }
    func partial(_ name: String) -> String { "\(partial)/\(name)" }
    func dead(_ name: String) -> String { "\(dead)/\(name)" }
    func cause(ofDead name: String) -> String { "\(dead)/\(name)/cause" }
    func lane(_ name: String) -> String { "\(producers)/\(name)" }
    func idBucket(_ number: UInt32) -> String { "\(ids)/\(number)" }
    func id(_ name: String, inBucket number: UInt32) -> String { "\(idBucket(number))/\(name)" }
    func idle(_ place: String) -> String { "\(idle)/\(place)" }
    func consumer(_ name: String) -> ConsumerPaths { ConsumerPaths(path: "\(consumers)/\(name)") }

    /// The nodes below the root, the last of which is created last.
    var parents: [String] { [items, partial, consumers, dead, idle, producers, earlier, epoch] }

    /// The root's ancestors and the root itself, from the top.
    var rootAndAncestors: [String] {
        root.split(separator: "/").reduce(into: []) { paths, name in paths.append((paths.last ?? "") + "/" + name) }
    }
}

/// The paths of one consumer's nodes.
struct ConsumerPaths: Sendable, Hashable {
    let path: String
    /// Ephemeral: the consumer's session lives.
    var active: String { path + "/active" }
    /// The parent of its leases.
    var item: String { path + "/item" }
    func lease(_ name: String) -> String { "\(item)/\(name)" }
}
