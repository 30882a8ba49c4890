/// What one pass of a recovery did.
public struct RecoveryReport: Sendable, Hashable {
    /// Messages taken from failed consumers.
    public var recovered = 0
    /// Messages given back to the queue.
    public var redelivered = 0
    /// Messages moved to the dead letters, since they were delivered too often.
    public var deadLettered = 0
    /// Failed consumers whose nodes were removed.
    public var consumersRemoved = 0
    /// Lanes of producers that are gone.
    public var lanesRemoved = 0
    /// Items that a producer created and never filled.
    public var unfilledRemoved = 0
    /// Ids of messages that are no longer remembered.
    public var idsForgotten = 0
    /// Passages to a new epoch of the server's numbers: see ``QueueSettings/sequenceLimit``.
    public var epochsBegun = 0

    /// Whether there was nothing to do.
    public var isEmpty: Bool { self == RecoveryReport() }
}

extension RecoveryReport {
    /// Adds what another duty did.
    static func += (sum: inout RecoveryReport, other: RecoveryReport) {
        sum.recovered += other.recovered
        sum.redelivered += other.redelivered
        sum.deadLettered += other.deadLettered
        sum.consumersRemoved += other.consumersRemoved
        sum.lanesRemoved += other.lanesRemoved
        sum.unfilledRemoved += other.unfilledRemoved
        sum.idsForgotten += other.idsForgotten
        sum.epochsBegun += other.epochsBegun
    }
}
