import Glibc

/// The clock of the in-memory ZooKeeper.
enum Timeline: Sendable {
    /// The machine's clock.
    case real
    /// A test's clock.
    case virtual(VirtualClock)

    private static let start = ContinuousClock.now
    /// The ensemble's wall clock at the start of virtual time: 2026-01-01, in milliseconds since 1970.
    private static let epoch: Int64 = 1_767_225_600_000

    /// The time since an arbitrary moment in the past.
    var now: Duration {
        switch self {
        case .real: Self.start.duration(to: .now)
        case .virtual(let clock): clock.now.offset
        }
    }

    /// The ensemble's wall clock, in milliseconds since 1970.
    var milliseconds: Int64 {
        switch self {
        case .virtual(let clock): return Self.epoch + Int64(clock.now.offset / .milliseconds(1))
        case .real:
            var now = timespec()
            clock_gettime(CLOCK_REALTIME, &now)
            return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
        }
    }

    /// Waits on this clock.
    ///
    /// - Throws: `CancellationError` when the task is cancelled.
    func sleep(for duration: Duration) async throws {
        switch self {
        case .real: try await Task.sleep(for: duration)
        case .virtual(let clock): try await clock.sleep(until: clock.now.advanced(by: duration), tolerance: nil)
        }
    }

    /// Calls `action` after the duration, unless it is cancelled before.
    func after(_ duration: Duration, _ action: @escaping @Sendable () -> Void) -> ScheduledAction {
        switch self {
        case .real:
            // The task ends after the duration, or when it is cancelled.
            let task = Task {
                guard (try? await Task.sleep(for: duration)) != nil else { return }
                action()
            }
            return ScheduledAction { task.cancel() }
        case .virtual(let clock):
            let timer = clock.schedule(at: clock.now.offset + duration, action)
            return ScheduledAction { clock.cancel(timer) }
        }
    }
}

/// An action that is scheduled for later.
struct ScheduledAction: Sendable {
    /// Cancels the action.
    let cancel: @Sendable () -> Void
}
