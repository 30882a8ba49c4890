/// The work of one pass of a recovery.
public struct RecoveryReport: Sendable, Hashable {
    /// Messages that were taken from failed consumers.
    public var recovered = 0
    /// Messages that were requeued.
    public var redelivered = 0
    /// Messages that were moved to the dead letters, because they had reached their maximum deliveries or have invalid
    /// names.
    public var deadLettered = 0
    /// Expired messages that were moved to the dead letters or deleted, because the queue has no consumer or is paused.
    public var expired = 0
    /// Delayed messages that became ready.
    public var madeReady = 0
    /// Failed consumers whose nodes were removed.
    public var consumersRemoved = 0
    /// Nodes of producers that are gone.
    public var producerStatesRemoved = 0
    /// Items that a producer created and never filled.
    public var incompleteItemsRemoved = 0
    /// Deduplication IDs that expired.
    public var deduplicationIDsExpired = 0
    /// Sequence rollovers. See ``QueueAttributes/sequenceRolloverThreshold``.
    public var sequenceRollovers = 0

    /// Whether there was nothing to do.
    public var isEmpty: Bool { self == RecoveryReport() }
}

extension RecoveryReport {
    /// Adds the report of another duty.
    static func += (sum: inout RecoveryReport, other: RecoveryReport) {
        sum.recovered += other.recovered
        sum.redelivered += other.redelivered
        sum.deadLettered += other.deadLettered
        sum.expired += other.expired
        sum.madeReady += other.madeReady
        sum.consumersRemoved += other.consumersRemoved
        sum.producerStatesRemoved += other.producerStatesRemoved
        sum.incompleteItemsRemoved += other.incompleteItemsRemoved
        sum.deduplicationIDsExpired += other.deduplicationIDsExpired
        sum.sequenceRollovers += other.sequenceRollovers
    }
}
