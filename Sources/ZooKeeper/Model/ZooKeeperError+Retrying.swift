extension ZooKeeperError {
    /// Whether the same request may succeed later without any intervention.
    package var isRetryable: Bool { outcome == .unknown || code.isRetryable }

    /// Pauses for 50 milliseconds after a refusal that came back at once, because there is no event to wait for
    /// and the caller would otherwise retry in a tight loop. Every other retryable error has already waited for
    /// a connection or a deadline.
    package func pauseIfRefusedAtOnce(_ store: any ZooKeeperStore) async {
        guard outcome == .notApplied, code != .deadlineExceeded else { return }
        try? await store.sleep(for: .milliseconds(50))
    }
}

extension ZooKeeperError.Code {
    /// Whether a request that was refused with this code may succeed later without any intervention.
    package var isRetryable: Bool {
        switch self {
        case .deadlineExceeded, .overloaded, .throttled, .notReadOnly, .sessionMoved, .sessionExpired, .unknownSession,
            .connectionLoss, .operationTimeout, .runtimeInconsistency:
            true
        default: false
        }
    }
}
