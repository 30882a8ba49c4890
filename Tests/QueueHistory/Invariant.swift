/// The promises of the queue, with their numbers in the documentation (`Proof.md`).
package enum Invariant: Int, Sendable, Hashable, CaseIterable {
    case noneLost = 1
    case nothingUnexpected
    case storedOnce
    case oneLease
    case lostLeaseChangesNothing
    case acknowledgedIsFinal
    case deliveriesCounted
    case orderKept
    case drainedInTime
    case nothingLeftBehind
    case neverEarly
    case neverExpired
    case groupOrderKept
}
