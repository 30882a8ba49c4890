import ZooKeeper

/// A step of a producer's maintenance, without which nothing more is sent.
///
/// The actor carries it out, and reports the result as an event, or ``ProducerStateMachine/stepFailed(_:_:)``.
enum ProducerStep: Sendable {
    /// Creates the queue's folders where they are missing, and reports ``ProducerStateMachine/prepared()``.
    case prepare
    /// Reads the epoch and the settings of the queue, and reports ``ProducerStateMachine/epochRead(_:_:)``.
    case readEpoch
    /// Reads where ids are remembered, and reports ``ProducerStateMachine/bucketsRead(_:)``.
    case readBuckets
    /// Creates the producer's node, and reports ``ProducerStateMachine/nodeCreated()``.
    case createNode(path: String)
    /// Removes a node that no longer counts. After an error, a recovery removes it.
    case deleteNode(path: String)
    /// Sends an unresolved batch again, and reports ``ProducerStateMachine/resolved(_:_:)``.
    case resolve(BatchPlan)
    /// Looks at the version of the producer's node, and reports ``ProducerStateMachine/nodeInspected(_:path:)``.
    case inspectNode(path: String)
    /// Restores the queue's folders that are missing, and reports ``ProducerStateMachine/foldersRestored(_:)``.
    case restoreFolders(ZooKeeperError, isCertain: Bool)
    /// Looks which of the messages' ids are remembered, and reports ``ProducerStateMachine/duplicatesFound(_:)``.
    case findDuplicates([SendLane.Entry], IDBuckets)
    /// Looks how full the queue is, and reports ``ProducerStateMachine/fillMeasured(_:now:)``.
    case measureFill(countingBytes: Bool)
    /// Waits as long as an error asks for.
    case pause(ZooKeeperError)
    case sleep(Duration)
}
