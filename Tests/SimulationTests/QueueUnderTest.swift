import ZooKeeperTestKit

/// An implementation of a queue in ZooKeeper: this package's, or a wrong one that the checker must catch. All use the
/// tree of ``ZooKeeperQueue``, because the same checks run on all of them.
protocol QueueUnderTest: Sendable {
    func sender(_ store: InMemorySession) throws -> any Sender
    func receiver(_ store: InMemorySession, prefetch: Int) throws -> any Receiver
    /// Moves the messages of failed consumers back, in one pass.
    func recover(_ store: InMemorySession) async throws
    /// Recovers until the task is cancelled.
    func keepRecovering(_ store: InMemorySession) async throws
    /// The delay of messages that are sent, and of messages that are requeued.
    var delay: Duration { get }
    var requeueDelay: Duration { get }
    /// How long a live consumer may be silent before a recovery takes its leases; `nil` means for ever.
    var leaseTimeout: Duration? { get }
    /// The copies of messages that are sent to another queue.
    var copies: Copies { get }
    /// Returns the key of a message's group.
    func group(of payload: String) -> String?
}

extension QueueUnderTest {
    var delay: Duration { .zero }
    var requeueDelay: Duration { .zero }
    var leaseTimeout: Duration? { nil }
    var copies: Copies { .none }
    func group(of payload: String) -> String? { nil }

    func keepRecovering(_ store: InMemorySession) async throws {
        while true {
            try await recover(store)
            try await store.sleep(for: .seconds(5))
        }
    }
}

enum SendResult: Sendable { case stored, unknown, refused(String) }

protocol Sender: Sendable {
    /// Stores messages, and repeats a send of unknown outcome while the outcome can still be found out.
    func send(_ payloads: [String]) async -> SendResult
    func close() async
    /// The object that no task may hold at the end of the run.
    var trackedObject: AnyObject? { get }
}

protocol Receiver {
    mutating func next(within limit: Duration) async throws -> (any Delivery)?
    func close() async
    /// The object that no task may hold at the end of the run.
    var trackedObject: AnyObject? { get }
}

extension Sender {
    var trackedObject: AnyObject? { nil }
}

extension Receiver {
    var trackedObject: AnyObject? { nil }
}

extension Delivery {
    var expiresAt: Int64? { nil }
}

enum SettleResult: Sendable {
    case done, lost, unknown
    /// An error that must not happen.
    case unexpected(String)

    var isDone: Bool {
        if case .done = self { return true }
        return false
    }
}

protocol Delivery: Sendable {
    var payload: String { get }
    var token: Int64 { get }
    var deliveryCount: Int { get }
    var name: String { get }
    /// From when on the message is expired, in milliseconds since 1970.
    var expiresAt: Int64? { get }
    /// Whether the consumer believes to hold the lease.
    var isHeld: Bool { get }
    func acknowledge() async -> SettleResult
    func requeue() async -> SettleResult
    func deadLetter() async -> SettleResult
}
