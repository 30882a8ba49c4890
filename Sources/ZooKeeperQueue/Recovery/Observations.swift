import ZooKeeper

/// How long this process has seen nodes unchanged, by its own clock: a value.
///
/// The ensemble's clock says how old a node is. When the leader's clock jumps, a node seems older than it is; so before a
/// recovery removes something for its age, it must have seen it unchanged for as long itself.
struct Observations: Sendable {
    private struct Sight {
        let stamp: Int64
        let since: Duration
        var wasSeen = true
    }
    private var sights: [ExactString: Sight] = [:]

    /// Whether a node has been seen for so long with the same stamp. Notes a node that is seen for the first time.
    ///
    /// - Parameter stamp: what changes whenever the node does.
    mutating func hasStood(_ path: String, stamp: Int64, for age: Duration, at now: Duration) -> Bool {
        let key = ExactString(path)
        guard var sight = sights[key], sight.stamp == stamp else {
            sights[key] = Sight(stamp: stamp, since: now)
            return age <= .zero
        }
        sight.wasSeen = true
        sights[key] = sight
        return now - sight.since >= age
    }

    /// Forgets what was not seen since the last call, so that there are never more than the tree has nodes.
    mutating func forgetUnseen() {
        sights = sights.filter { $0.value.wasSeen }
        for key in sights.keys { sights[key]?.wasSeen = false }
    }
}
