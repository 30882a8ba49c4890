import Synchronization

/// A counter that starts at 1.
final class Counter: Sendable {
    private let count = Atomic<Int>(0)
    func next() -> Int { count.wrappingAdd(1, ordering: .relaxed).newValue }
}

/// A Boolean that tasks share.
final class Flag: Sendable {
    private let state = Atomic<Bool>(false)
    var isSet: Bool {
        get { state.load(ordering: .relaxed) }
        set { state.store(newValue, ordering: .relaxed) }
    }
}
