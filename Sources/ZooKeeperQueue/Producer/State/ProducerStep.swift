import ZooKeeper

/// A step of a producer's maintenance, which must end before more messages are sent.
///
/// The actor carries it out, and reports the result as an event, or ``ProducerStateMachine/stepFailed(_:_:)``.
enum ProducerStep: Sendable {
    /// Creates the queue's folders where they are missing, and reports ``ProducerStateMachine/prepared()``.
    case prepare
    /// Reads the queue's epoch and settings, and reports ``ProducerStateMachine/epochRead(_:_:)``.
    case readEpoch
    /// Reads the numbers of the ID buckets, and reports ``ProducerStateMachine/bucketsRead(_:)``.
    case readBuckets
    /// Creates the producer's node, and reports ``ProducerStateMachine/nodeCreated()``.
    case createNode(path: String)
    /// Removes a node that no longer counts. After an error, a recovery removes it.
    case deleteNode(path: String)
    /// Sends an unresolved batch again, and reports ``ProducerStateMachine/resolved(_:_:)``.
    case resolve(BatchTransaction)
    /// Reads the version of the producer's node, and reports ``ProducerStateMachine/nodeInspected(_:path:)``.
    case inspectNode(path: String)
    /// Restores the queue's missing folders, creates the slots of delayed messages, and reports
    /// ``ProducerStateMachine/foldersRestored(_:isPlanned:)``.
    case restoreFolders(ZooKeeperError, isCertain: Bool, slots: Set<DelaySlot>)
    /// Reads the ensemble's clock, and reports ``ProducerStateMachine/clockRead(_:sentAt:now:)``.
    case readClock
    /// Finds the messages whose IDs the queue remembers, and reports ``ProducerStateMachine/duplicatesFound(_:)``.
    case findDuplicates([ProducerSequence.Entry], DeduplicationBuckets)
    /// Measures the queue's fill level, and reports ``ProducerStateMachine/fillMeasured(_:now:)``.
    case measureFill(countingBytes: Bool)
    /// Waits as long as the error requires.
    case pause(ZooKeeperError)
    case sleep(Duration)
}
