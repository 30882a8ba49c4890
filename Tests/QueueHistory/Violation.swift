/// A broken promise.
package struct Violation: Sendable, Hashable, CustomStringConvertible {
    package let invariant: Invariant
    package let detail: String

    package init(_ invariant: Invariant, _ detail: String) {
        self.invariant = invariant
        self.detail = detail
    }

    package var description: String { "(\(invariant.rawValue)) \(invariant): \(detail)" }
}
