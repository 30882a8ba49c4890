import QueueHistory
import Synchronization

/// Random numbers that a seed decides, for all tasks of a run.
final class SeededRandom: Sendable {
    private let generator: Mutex<SeededGenerator>
    init(seed: UInt64) { generator = Mutex(SeededGenerator(seed: seed)) }
    /// Returns a number from 0 to `sides` - 1.
    func roll(_ sides: Int) -> Int { generator.withLock { Int.random(in: 0..<max(1, sides), using: &$0) } }
}
