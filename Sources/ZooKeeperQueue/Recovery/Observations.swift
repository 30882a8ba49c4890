import Synchronization
import ZooKeeper

/// How long this process has seen nodes unchanged, by its own clock. The passes of one recovery
/// share it. See ``NodeAges``.
final class Observations: Sendable {
    private struct Observation {
        let stamp: Int64
        let since: Duration
        var wasSeen = true
    }
    private let observations = Mutex<[ExactString: Observation]>([:])

    /// Whether a node has been seen with the same stamp for this long. Records a node that is seen for the first time.
    ///
    /// - Parameter stamp: a value that changes whenever the node does.
    func isUnchanged(_ path: String, stamp: Int64, for age: Duration, at now: Duration) -> Bool {
        let key = ExactString(path)
        return observations.withLock { observations in
            guard var observation = observations[key], observation.stamp == stamp else {
                observations[key] = Observation(stamp: stamp, since: now)
                return age <= .zero
            }
            observation.wasSeen = true
            observations[key] = observation
            return now - observation.since >= age
        }
    }

    /// Forgets the nodes that were not seen since the last call, so that there are never more
    /// entries than nodes in the tree.
    func forgetUnseen() {
        observations.withLock { observations in
            observations = observations.filter { $0.value.wasSeen }
            for key in observations.keys { observations[key]?.wasSeen = false }
        }
    }
}
