/// The paths of a queue's nodes. They are a wire format: <doc:WireFormat> draws the tree.
struct QueueTree: Sendable, Hashable {
    let root: String

    /// Ready messages.
    var items: String { root + "/items" }
    /// Ready messages from before the last sequence rollover.
    var earlier: String { root + "/earlier" }
    /// How often the sequence numbers have rolled over, and the phase of a rollover.
    var epoch: String { root + "/epoch" }
    /// Messages of failed consumers that were not redelivered yet.
    var partial: String { root + "/partial" }
    /// Registered consumers.
    var consumers: String { root + "/consumers" }
    /// Dead letters.
    var dead: String { root + "/dead" }
    /// Producers' nodes, whose versions count their batches.
    var producers: String { root + "/producers" }
    /// The wait queue of idle consumers.
    var idle: String { root + "/idle" }
    /// The buckets of deduplication IDs.
    var ids: String { root + "/ids" }
    /// Messages that are not due yet, by the day and the minute of their due times.
    var delayed: String { root + "/delayed" }
    /// The message groups: the messages that wait for an earlier message with the same key.
    var groups: String { root + "/groups" }
    /// The lock of the recovery that acts now.
    var recoveryLock: String { root + "/gc-lock" }
    /// The lock of the recovery that moves delayed messages.
    var delayedLock: String { root + "/delayed-lock" }

    /// The settings that every process must agree on.
    var settings: String { root + "/settings" }

    func item(_ name: String) -> String { "\(items)/\(name)" }
    func earlier(_ name: String) -> String { "\(earlier)/\(name)" }
    func partial(_ name: String) -> String { "\(partial)/\(name)" }
    func dead(_ name: String) -> String { "\(dead)/\(name)" }
    func cause(ofDead name: String) -> String { "\(dead)/\(name)/cause" }
    func producer(_ name: String) -> String { "\(producers)/\(name)" }
    func idBucket(_ number: UInt32) -> String { "\(ids)/\(number)" }
    func id(_ name: String, inBucket number: UInt32) -> String { "\(idBucket(number))/\(name)" }
    func delayedDay(_ day: Int64) -> String { "\(delayed)/\(day)" }
    func delaySlot(_ slot: DelaySlot) -> String { "\(delayedDay(slot.day))/\(slot.minute)" }
    /// The path of a delayed message with this name, or with a name that begins so.
    func delayed(_ name: String, due: EnsembleTime) -> String {
        "\(delaySlot(DelaySlot(due)))/\(DelayedName.prefix(due: due))\(name)"
    }
    func group(_ key: GroupKey) -> String { "\(groups)/\(key.nodeName)" }
    func idle(_ position: String) -> String { "\(idle)/\(position)" }
    func consumer(_ name: String) -> ConsumerPaths { ConsumerPaths(path: "\(consumers)/\(name)") }

    /// The folders that every queue has, in the order of their creation. `epoch` comes last, and marks the queue as
    /// complete.
    var parents: [String] { [items, partial, consumers, dead, idle, producers, earlier, epoch] }

    /// The root's ancestors and the root itself, from the top.
    var rootAndAncestors: [String] {
        root.split(separator: "/").reduce(into: []) { paths, name in paths.append((paths.last ?? "") + "/" + name) }
    }
}

/// The paths of one consumer's nodes.
struct ConsumerPaths: Sendable, Hashable {
    let path: String
    /// An ephemeral node that exists while the consumer's session lives.
    var active: String { path + "/active" }
    /// The data of that node when the consumer renews its leases, and finds out when one was taken away.
    static let renewing = Array("renews".utf8)
    /// The parent of the consumer's leases.
    var item: String { path + "/item" }
    func lease(_ name: String) -> String { "\(item)/\(name)" }
}
