/// Calls `body` for each number below `count`, in two tasks, because simulations do not suspend.
///
/// - Returns: the results that are not `nil`, with their numbers.
func concurrently<Result: Sendable>(
    _ count: Int, _ body: @escaping @Sendable (Int) -> Result?
) async -> [(number: Int, result: Result)] {
    let tasks = 2
    return await withTaskGroup(of: [(number: Int, result: Result)].self) { group in
        for first in 0..<tasks {
            group.addTask {
                stride(from: first, to: count, by: tasks).compactMap { number in
                    body(number).map { (number, $0) }
                }
            }
        }
        return await group.reduce(into: []) { $0 += $1 }.sorted { $0.number < $1.number }
    }
}
