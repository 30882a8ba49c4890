import ZooKeeper

/// Determines the ages of nodes, by the two clocks of one pass.
///
/// The ensemble's clock tells how old a node is. When the leader's clock jumps, a node seems older than it is. So the
/// recovery removes a node for its age only after it has also seen the node unchanged for that long by its own clock.
struct NodeAges: Sendable {
    /// The ensemble's clock when the pass began, in milliseconds since 1970.
    let now: Int64
    let store: any ZooKeeperStore
    /// What earlier passes of this recovery have seen.
    let observations: Observations

    /// Whether a time of the ensemble's clock is at least this long ago.
    ///
    /// A time after the beginning of the pass has no known age.
    func isOlder(_ time: Int64, than age: Duration) -> Bool { age <= .zero || .milliseconds(now - time) >= age }

    /// Whether a node is old enough to be removed, by both clocks.
    func hasExpired(_ path: String, _ stat: Stat, since time: Int64, after age: Duration) -> Bool {
        let isUnchanged = observations.isUnchanged(path, stamp: stat.mzxid, for: age, at: store.now)
        return isUnchanged && isOlder(time, than: age)
    }
}
