public import ZooKeeper

/// A message with its lease: nobody else has it while the lease is held.
///
/// Settle it once: ``acknowledge(with:)``, ``giveBack(reason:)``, ``deadLetter(reason:)``, or let
/// ``process(cancelsWhenInDoubt:_:)`` do it. A message that is dropped unsettled is given back.
public struct QueueMessage: Sendable {
    private let holder: LeaseHolder
    private var lease: Lease { holder.lease }

    init(lease: Lease, consumer: QueueConsumer) { holder = LeaseHolder(lease: lease, consumer: consumer) }

    /// The bytes that were sent.
    public var payload: [UInt8] { lease.envelope.payload }
    /// The names and values that were sent with the payload.
    public var headers: [String: String] { lease.envelope.headers }
    /// The id that the message was sent with: see ``OutgoingMessage/id``.
    public var id: String? { lease.envelope.id }
    /// The name of the message's node. It stays the same over deliveries, but for the count at its end.
    public var name: String { lease.name.string }
    /// 0…999; lower ones are served first.
    public var priority: Int { lease.name.priority }
    /// How often the message was delivered, this time included; above 1 it may have been worked on before.
    ///
    /// Of a consumer that failed, a recovery cannot tell which of its messages had been handed out, so it counts all
    /// that
    /// the consumer had taken. A message that has come back twice is therefore taken by itself, when somebody waits
    /// for it:
    /// a message that brings its consumer down each time does not take others to the dead letters.
    public var deliveryCount: Int { lease.name.returns + 1 }
    /// When the message became ready, by the ensemble's clock: milliseconds since 1970. For a message that was given
    /// back it is the time of that.
    public var enqueueTime: Int64 { lease.stat.ctime }
    /// A number that only grows over the whole ensemble: of two leases, the later one has the larger. A store that
    /// remembers the largest number it has seen can refuse a consumer whose lease was lost unnoticed.
    ///
    /// It is the zxid of the transaction that took the lease.
    public var fencingToken: Int64 { lease.fencingToken }
    /// How things stand with the lease now.
    public var state: LeaseState { lease.state }

    /// Waits until the lease is in another state than the given one.
    ///
    /// - Returns: the new state, or the present one when the task is cancelled.
    public func stateChange(from state: LeaseState) async -> LeaseState { await lease.change(from: state) }

    /// Removes the message from the queue: it is done, and never comes again.
    ///
    /// - Parameter operations: changes in ZooKeeper that are applied together with it or not at all, so that an effect
    ///   that a handler has in ZooKeeper happens exactly once.
    /// - Throws: ``QueueError``: ``QueueError/Code/leaseLost`` when the message is somebody else's by now, and nothing
    ///   was changed; ``QueueError/Code/alreadySettled``; ``QueueError/Code/outcomeUnknown`` when the session ended
    ///   before the answer came. It is not affected by cancellation.
    public func acknowledge(with operations: [Operation] = []) async throws {
        try await holder.consumer.settle(lease, by: .acknowledge(operations))
    }

    /// Puts the message back to its place in the queue, or to the dead letters when it was delivered
    /// ``QueueSettings/maximumDeliveries`` times.
    ///
    /// - Parameter reason: is logged, and kept with the dead letter if it becomes one.
    /// - Throws: as ``acknowledge(with:)``.
    public func giveBack(reason: String? = nil) async throws {
        try await holder.consumer.settle(lease, by: .giveBack(reason: reason))
    }

    /// Moves the message to the dead letters, with its payload intact.
    ///
    /// - Parameter reason: is kept with it, as the data of the child `cause`.
    /// - Throws: as ``acknowledge(with:)``.
    public func deadLetter(reason: String) async throws {
        try await holder.consumer.settle(lease, by: .deadLetter(reason: reason))
    }

    /// Runs `body` and settles the message: acknowledges it when `body` returns, gives it back when `body` throws.
    ///
    /// The task of `body` is cancelled when the lease is lost, or when the surrounding task is. What `body` throws
    /// after the
    /// surrounding task was cancelled counts as no delivery: the message keeps its delivery count, as at the end of a
    /// consumer's
    /// grace period.
    ///
    /// - Parameters:
    ///   - cancelsWhenInDoubt: cancels it already when the lease is in doubt, which is before anybody else can have the
    ///     message.
    ///   - body: works on the message.
    /// - Returns: what `body` returns, once the message is acknowledged.
    /// - Throws: what `body` throws, or as ``acknowledge(with:)``.
    public func process<Result: Sendable>(
        cancelsWhenInDoubt: Bool = false, _ body: @escaping @Sendable (QueueMessage) async throws -> Result
    ) async throws -> Result {
        let outcome = await withTaskGroup(of: Swift.Result<Result, any Error>?.self) { group in
            group.addTask {
                do { return .success(try await body(self)) } catch { return .failure(error) }
            }
            group.addTask {
                await lease.untilLost(orInDoubt: cancelsWhenInDoubt)
                return nil
            }
            var outcome: Swift.Result<Result, any Error>?
            for await result in group {
                group.cancelAll()
                if let result { outcome = result }
            }
            return outcome
        }
        switch outcome {
        case .success(let result):
            try await acknowledge()
            return result
        case .failure(let error):
            // Settled by the handler itself, or lost: then there is nothing to give back.
            let kind: Settlement.Kind = Task.isCancelled ? .release : .giveBack(reason: "the handler failed")
            try? await holder.consumer.settle(lease, by: kind)
            if state == .lost { throw Lease.lostError }
            throw error
        case nil: throw CancellationError()
        }
    }
}

/// Gives the lease back when the last copy of a message is dropped unsettled.
private final class LeaseHolder: Sendable {
    let lease: Lease
    let consumer: QueueConsumer

    init(lease: Lease, consumer: QueueConsumer) {
        self.lease = lease
        self.consumer = consumer
    }

    deinit {
        guard lease.state == .held || lease.state == .inDoubt else { return }
        let (lease, consumer) = (lease, consumer)
        // Not a child of anything, since a deinit cannot wait; the consumer's `close()` waits for its settlements.
        Task { await consumer.insist(on: .giveBack(reason: "the message was dropped unsettled"), for: lease) }
    }
}

extension Lease {
    fileprivate func untilLost(orInDoubt: Bool) async {
        var state = state
        while !Task.isCancelled {
            if state == .lost || state == .settled || (orInDoubt && state == .inDoubt) { return }
            state = await change(from: state)
        }
    }
}
