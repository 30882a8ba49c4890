import Simulation
import Testing

/// Every recipe, with every fault at every call of one of its processes.
@Suite(.timeLimit(.minutes(10)))
struct RecipeFaultTests {
    @Test(
        "Every recipe keeps its promise with any fault at any call",
        arguments: [
            RecipeProtocol.lock, .lockTimeout, .readWriteLock, .election, .counter, .barrier, .paths,
        ])
    func oneFault(_ recipe: RecipeProtocol) async {
        let (runs, found) = await playEveryFault { recipe.run($0) }
        #expect(found.isEmpty, "\(found.prefix(10).joined(separator: "\n"))")
        print("\(recipe): \(runs) runs, \(found.count) with violations")
    }

    @Test(
        "The same test finds flawed recipes",
        arguments: [RecipeProtocol.lockWithoutFencing, .electionByOneNode, .counterThatRepeats])
    func negativeControls(_ recipe: RecipeProtocol) async {
        let (runs, found) = await playEveryFault { recipe.run($0) }
        #expect(!found.isEmpty)
        print("\(recipe): \(runs) runs, \(found.count) with violations, as there should be")
    }
}
