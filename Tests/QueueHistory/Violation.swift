/// A promise that was not kept.
package struct Violation: Sendable, Hashable, CustomStringConvertible {
    package let invariant: Invariant
    package let what: String

    package init(_ invariant: Invariant, _ what: String) {
        self.invariant = invariant
        self.what = what
    }

    package var description: String { "(\(invariant.rawValue)) \(invariant): \(what)" }
}
