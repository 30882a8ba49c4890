import Simulation
import Testing

/// Every protocol of the jobs, with every fault at every one of its calls.
@Suite(.timeLimit(.minutes(10)))
struct JobFaultTests {
    @Test(
        "Every promise of the jobs is kept with any fault at any call of a protocol",
        arguments: [JobProtocol.finishBatch, .pushBatch, .pushUnique, .tickSchedule])
    func oneFault(_ tested: JobProtocol) async {
        let (runs, found) = await playEveryFault { tested.run($0) }
        #expect(found.isEmpty, "\(found.prefix(10).joined(separator: "\n"))")
        print("\(tested): \(runs) runs, \(found.count) with violations")
    }

    @Test(
        "The same test finds algorithms that take two steps where one transaction is needed",
        arguments: [
            JobProtocol.finishBatchSeparately, .pushUniqueSeparately, .tickScheduleSeparately,
        ])
    func negativeControls(_ tested: JobProtocol) async {
        let (runs, found) = await playEveryFault { tested.run($0) }
        #expect(tested.run().violations.isEmpty, "It works as long as there is no fault.")
        #expect(!found.isEmpty)
        print("\(tested): \(runs) runs, \(found.count) with violations, as there should be")
    }
}
