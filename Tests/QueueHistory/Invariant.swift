/// What the queue promises, by the numbers under which its documentation lists them.
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
}
