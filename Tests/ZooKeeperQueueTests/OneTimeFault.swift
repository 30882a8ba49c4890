import Synchronization
import ZooKeeperTestKit

/// A fault that occurs once, at the first batch that a producer sends after `arm()`.
final class OneTimeFault: Sendable {
    private let fault: Fault
    private let isArmed = Mutex(false)
    private let occurrences: AsyncStream<Void>
    private let report: AsyncStream<Void>.Continuation

    init(_ fault: Fault) {
        self.fault = fault
        (occurrences, report) = AsyncStream.makeStream()
    }

    func arm() { isArmed.withLock { $0 = true } }

    var plan: FaultPlan {
        { [self] request in
            let isDue = isArmed.withLock { isArmed in
                guard isArmed, request.request == "multi", request.path.hasPrefix("/queue/producers/") else {
                    return false
                }
                isArmed = false
                return true
            }
            guard isDue else { return nil }
            report.yield()
            return fault
        }
    }

    /// Waits until the fault has occurred.
    func occurred() async { for await _ in occurrences { return } }
}
