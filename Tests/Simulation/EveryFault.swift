package import ZooKeeperTestKit

/// Plays a run without a fault, and then with every fault at every one of its calls.
///
/// - Parameter run: plays one run, and returns its number of calls and what is wrong at its end.
/// - Returns: the number of runs with a fault, and everything that is wrong.
package func playEveryFault(
    _ run: @escaping @Sendable (FaultPlan?) -> (calls: Int, violations: [String])
) async -> (runs: Int, violations: [String]) {
    let (calls, violations) = run(nil)
    let faults = Fault.allCases
    let found = await withTaskGroup(of: [String].self) { group in
        // Two tasks, because simulations do not suspend.
        for first in 0..<2 {
            group.addTask {
                stride(from: first, to: calls * faults.count, by: 2).flatMap { number in
                    let (call, fault) = (number / faults.count + 1, faults[number % faults.count])
                    return run { $0.number == call ? fault : nil }.violations.map {
                        "\(fault) at call \(call): \($0)"
                    }
                }
            }
        }
        return await group.reduce(into: violations.map { "without a fault: \($0)" }) { $0 += $1 }
    }
    return (calls * faults.count, found)
}
