import ZooKeeperTestKit

/// A way to keep a queue in ZooKeeper: ours, or one of the wrong ones that the checker must catch. All use the tree of
/// ``ZooKeeperQueue``, so that they can be judged by the same eyes.
protocol Subject: Sendable {
    func sender(_ store: InMemorySession) throws -> any Sender
    func receiver(_ store: InMemorySession, prefetch: Int) throws -> any Receiver
    /// Looks once for what failed consumers have left.
    func recover(_ store: InMemorySession) async throws
}

enum SendResult: Sendable { case stored, unknown, refused(String) }

protocol Sender: Sendable {
    /// Stores messages, and repeats what is of unknown outcome as long as there is hope.
    func send(_ payloads: [String]) async -> SendResult
    func close() async
    /// What must be gone when it is done, so that no task is left that holds it.
    var object: AnyObject? { get }
}

protocol Receiver {
    mutating func next(within limit: Duration) async throws -> (any Delivery)?
    func close() async
    /// As a sender's.
    var object: AnyObject? { get }
}

extension Sender {
    var object: AnyObject? { nil }
}

extension Receiver {
    var object: AnyObject? { nil }
}

enum SettleResult: Sendable {
    case done, lost, unknown
    /// What should not happen.
    case wrong(String)

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
    /// Whether the consumer itself takes the lease for its own.
    var isHeld: Bool { get }
    func acknowledge() async -> SettleResult
    func requeue() async -> SettleResult
    func deadLetter() async -> SettleResult
}
