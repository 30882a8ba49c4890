import Glibc

/// By what time the in-memory ZooKeeper goes.
enum Timeline: Sendable {
    /// The machine's.
    case real
    /// A test's.
    case virtual(VirtualClock)

    private static let start = ContinuousClock.now
    /// The ensemble's clock at the beginning of virtual time: 2026-01-01, in milliseconds since 1970.
    private static let epoch: Int64 = 1_767_225_600_000

    /// The time since some moment in the past.
    var now: Duration {
        switch self {
        case .real: Self.start.duration(to: .now)
        case .virtual(let clock): clock.now.offset
        }
    }

    /// The ensemble's clock: milliseconds since 1970.
    var milliseconds: Int64 {
        switch self {
        case .virtual(let clock): return Self.epoch + Int64(clock.now.offset / .milliseconds(1))
        case .real:
            var now = timespec()
            clock_gettime(CLOCK_REALTIME, &now)
            return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
        }
    }

    /// Waits by this time.
    func sleep(for duration: Duration) async throws {
        switch self {
        // The wait itself is what was asked for.
        case .real: try await Task.sleep(for: duration)
        case .virtual(let clock): try await clock.sleep(until: clock.now.advanced(by: duration), tolerance: nil)
        }
    }

    /// Calls `action` later, unless it is stopped before.
    func after(_ duration: Duration, _ action: @escaping @Sendable () -> Void) -> Appointment {
        switch self {
        case .real:
            // Ends with the time, or when it is stopped.
            let task = Task {
                guard (try? await Task.sleep(for: duration)) != nil else { return }
                action()
            }
            return Appointment { task.cancel() }
        case .virtual(let clock):
            let timer = clock.schedule(at: clock.now.offset + duration, action)
            return Appointment { clock.cancel(timer) }
        }
    }
}

/// Something that happens later.
struct Appointment: Sendable {
    /// Makes that it does not happen.
    let stop: @Sendable () -> Void
}
