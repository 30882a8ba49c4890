import DequeModule
import Synchronization

/// Who may write: one at a time, in the order in which they came.
final class WriteTurn: Sendable {
    private struct State {
        var isTaken = false
        var number = 0
        var waiting: Deque<CheckedContinuation<Void, Never>> = []
    }
    private let state = Mutex(State())

    /// Waits for the turn. Each that has it is done in time, so that this ends too.
    func take() async {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                if state.isTaken {
                    state.waiting.append(continuation)
                    return false
                }
                state.isTaken = true
                return true
            }
            if isFree { continuation.resume() }
        }
    }

    func give() {
        let next = state.withLock { state in
            let next = state.waiting.popFirst()
            state.isTaken = next != nil
            return next
        }
        next?.resume()
    }

    /// The number of the next write that is sent.
    func nextNumber() -> Int {
        state.withLock { state in
            state.number += 1
            return state.number
        }
    }
}
