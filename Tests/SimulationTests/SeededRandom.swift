import QueueHistory
import Synchronization

/// Numbers that a seed decides, for all members of a run.
final class SeededRandom: Sendable {
    private let generator: Mutex<SeededGenerator>
    init(seed: UInt64) { generator = Mutex(SeededGenerator(seed: seed)) }
    /// A number from 0 to below `sides`.
    func roll(_ sides: Int) -> Int { generator.withLock { Int.random(in: 0..<max(1, sides), using: &$0) } }
}
