import Foundation
import ZooKeeperJobs

/// The jobs of the tests.
struct ChargeCard: Job, Hashable {
    static let name = "charge-card"
    var order: String
    var cents = 999
}

struct SendReport: Job, Hashable {
    static let name = "send-report"
    var report: String
}

struct BankIsClosed: Error {}

/// Collects values from several tasks.
actor Collected<Value: Sendable> {
    private(set) var values: [Value] = []
    func add(_ value: Value) { values.append(value) }
}
