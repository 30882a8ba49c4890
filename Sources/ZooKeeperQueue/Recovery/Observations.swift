import Synchronization
import ZooKeeper

/// How long this process has seen nodes unchanged, by its own clock. The passes of one recovery
/// share it. See ``NodeAges``.
final class Observations: Sendable {
    private struct Sight {
        let stamp: Int64
        let since: Duration
        var wasSeen = true
    }
    private let sights = Mutex<[ExactString: Sight]>([:])

    /// Whether a node has been seen with the same stamp for this long. Records a node that is seen for the first time.
    ///
    /// - Parameter stamp: a value that changes whenever the node does.
    func isUnchanged(_ path: String, stamp: Int64, for age: Duration, at now: Duration) -> Bool {
        let key = ExactString(path)
        return sights.withLock { sights in
            guard var sight = sights[key], sight.stamp == stamp else {
                sights[key] = Sight(stamp: stamp, since: now)
                return age <= .zero
            }
            sight.wasSeen = true
            sights[key] = sight
            return now - sight.since >= age
        }
    }

    /// Forgets the nodes that were not seen since the last call, so that there are never more
    /// entries than nodes in the tree.
    func forgetUnseen() {
        sights.withLock { sights in
            sights = sights.filter { $0.value.wasSeen }
            for key in sights.keys { sights[key]?.wasSeen = false }
        }
    }
}
