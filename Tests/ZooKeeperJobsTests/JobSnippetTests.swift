import Testing
import ZooKeeper
import ZooKeeperJobs
import ZooKeeperQueue
import ZooKeeperTestKit

/// The code of the documentation that needs Swift Testing, which a release build of `Snippets` has not.
struct JobSnippetTests {
    private struct ChargeCard: Job {
        static let name = "charge-card"
        var order: String
        var cents = 999
    }

    // Stand for the application's code.
    private func handle(_ message: QueueMessage) async throws { try await message.acknowledge() }
    private func placeOrder(_ number: Int, _ jobs: JobQueue) async throws {
        try await jobs.push(ChargeCard(order: "o-\(number)"))
    }
    private func worker(_ jobs: JobQueue) -> JobWorker { JobWorker(jobs).handle(ChargeCard.self) { _, _ in } }

    @Test("The example of a queue of jobs in memory works")
    func testKit() async throws {
        // snippet.test-queue
        let test = try await JobQueue.test()
        try await placeOrder(42, test.jobs)
        #expect(try await test.pushed(ChargeCard.self).map(\.job.order) == ["o-42"])
        try await test.run(worker(test.jobs))
        try await test.advance(by: .seconds(3_600), running: worker(test.jobs))
        // snippet.end
    }

    @Test("The example of a leased message works")
    func testMessage() async throws {
        // snippet.test-message
        let message = try await QueueMessage.test(.init("order 42", headers: ["language": "en"]), deliveryCount: 3)
        try await handle(message)
        #expect(message.leaseState == .settled)
        // snippet.end
    }
}
