import Simulation
import Synchronization
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperRecipes

/// One recipe, used by several processes, of which one suffers faults.
struct RecipeProtocol: Sendable, CustomStringConvertible {
    let description: String
    /// Runs the processes, and returns what is wrong at the end.
    let body: @Sendable (RecipeRun) async throws -> [String]

    /// Plays the recipe once.
    ///
    /// - Returns: the calls of the process that suffers faults, and what is wrong.
    func run(_ faults: FaultPlan? = nil) -> (calls: Int, violations: [String]) {
        let run = RecipeRun(faults)
        do {
            let violations = try run.simulation.run {
                let violations = try await body(run)
                for session in [run.tested, run.second, run.third] { session.crash() }
                return violations
            }
            return (run.tested.callCount, violations + run.resource.violations)
        } catch {
            return (run.tested.callCount, ["the run failed: \(error)"])
        }
    }
}

/// The processes of one run, and what they share beside ZooKeeper.
struct RecipeRun: Sendable {
    let simulation = Simulation(.fixed, timeLimit: .seconds(1_200))
    let resource = Resource()
    let tested, second, third: InMemorySession

    init(_ faults: FaultPlan?) {
        let zookeeper = simulation.zookeeper
        tested = zookeeper.connect("tested", faults: faults)
        (second, third) = (zookeeper.connect("second"), zookeeper.connect("third"))
    }

    /// Uses the resource for some seconds, and ignores the loss of the lock, as a suspended process would.
    func use(_ holder: LockHolder, by process: InMemorySession, shared: Bool = false) async {
        resource.enter(holder, shared: shared)
        for _ in 0..<3 {
            // A call, so that a fault can end the session now.
            _ = try? await process.exists("/")
            resource.write(holder.fencingToken)
            await sleep(.seconds(4))
        }
        resource.leave(holder)
    }

    /// Waits, also in a cancelled task.
    func sleep(_ duration: Duration) async {
        await Task { try? await simulation.clock.sleep(for: duration) }.value
    }

    /// Runs a process until it has succeeded, as a program would.
    func untilDone(_ body: @Sendable () async throws -> Void) async {
        while true {
            do { return try await body() } catch { await sleep(.seconds(1)) }
        }
    }

    func leftovers(below path: String) async -> [String] {
        // What a call has abandoned ends when its requests have ended.
        await sleep(.seconds(120))
        let nodes = simulation.zookeeper.nodes.keys.filter { $0.hasPrefix(path + "/") }.sorted()
        return nodes.isEmpty ? [] : ["left behind: \(nodes)"]
    }
}

/// A store outside of ZooKeeper that a lock protects.
final class Resource: Sendable {
    private struct State {
        var holders: [(holder: LockHolder, shared: Bool)] = []
        var largestToken: Int64 = 0
        var violations: [String] = []
        var checksTokens = true
    }
    private let state = Mutex(State())

    var violations: [String] { state.withLock { $0.violations } }

    func ignoreTokens() { state.withLock { $0.checksTokens = false } }

    func enter(_ holder: LockHolder, shared: Bool) {
        state.withLock { state in
            state.holders.append((holder, shared))
            check(&state)
        }
    }

    func leave(_ holder: LockHolder) {
        state.withLock { $0.holders.removeAll { $0.holder.fencingToken == holder.fencingToken } }
    }

    /// Accepts a write, unless one with a larger token came before.
    func write(_ token: Int64) {
        state.withLock { state in
            check(&state)
            if token < state.largestToken, !state.checksTokens {
                state.violations.append("a write of an earlier holder was accepted after one of a later holder")
            }
            state.largestToken = max(state.largestToken, token)
        }
    }

    /// Notes whether two processes know that they hold the lock.
    private func check(_ state: inout State) {
        let certain = state.holders.filter { $0.holder.isHeld }
        if certain.count > 1, certain.contains(where: { !$0.shared }) {
            state.violations.append("\(certain.count) processes know that they hold the lock")
        }
    }
}

extension RecipeProtocol {
    private static func lock(_ description: String, checksTokens: Bool) -> RecipeProtocol {
        RecipeProtocol(description: description) { run in
            if !checksTokens { run.resource.ignoreTokens() }
            await withTaskGroup(of: Void.self) { group in
                for process in [run.tested, run.second, run.third] {
                    group.addTask {
                        let lock = DistributedLock(process, path: "/locks/a")
                        for _ in 0..<2 {
                            await run.untilDone {
                                try await lock.withLock { holder in await run.use(holder, by: process) }
                            }
                        }
                    }
                }
            }
            return await run.leftovers(below: "/locks/a")
        }
    }

    static let lock = lock("lock", checksTokens: true)
    /// A negative control: the resource does not check the fencing tokens.
    static let lockWithoutFencing = lock("lock without fencing", checksTokens: false)

    static let lockTimeout = RecipeProtocol(description: "give up waiting for a lock") { run in
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                try? await DistributedLock(run.second, path: "/locks/a").withLock { holder in
                    await run.use(holder, by: run.second)
                }
            }
            await run.sleep(.seconds(1))
            let lock = DistributedLock(run.tested, path: "/locks/a")
            _ = try? await lock.withLock(timeout: .seconds(2)) { holder in await run.use(holder, by: run.tested) }
            let cancelled = Task { _ = try? await lock.withLock { holder in await run.use(holder, by: run.tested) } }
            await run.sleep(.seconds(2))
            cancelled.cancel()
            await cancelled.value
        }
        return await run.leftovers(below: "/locks/a")
    }

    static let readWriteLock = RecipeProtocol(description: "read-write lock") { run in
        await withTaskGroup(of: Void.self) { group in
            for (process, writes) in [
                (run.tested, [true, false]), (run.second, [false, true]), (run.third, [false, false]),
            ] {
                group.addTask {
                    let lock = ReadWriteLock(process, path: "/locks/a")
                    for write in writes {
                        await run.untilDone {
                            if write {
                                try await lock.withWriteLock { await run.use($0, by: process) }
                            } else {
                                try await lock.withReadLock { await run.use($0, by: process, shared: true) }
                            }
                        }
                    }
                }
            }
        }
        return await run.leftovers(below: "/locks/a")
    }

    /// The first candidate leads for a long time. The second one, which suffers the faults, ends meanwhile.
    private static func election(
        _ description: String,
        enter: @escaping @Sendable (RecipeRun, InMemorySession, String, Duration) async throws -> Void
    ) -> RecipeProtocol {
        RecipeProtocol(description: description) { run in
            let candidates = [(run.second, "first", 0, 40), (run.tested, "second", 1, 4), (run.third, "third", 2, 4)]
            await withTaskGroup(of: Void.self) { group in
                for (process, name, delay, time) in candidates {
                    group.addTask {
                        await run.sleep(.seconds(delay))
                        let task = Task { try? await enter(run, process, name, .seconds(time)) }
                        if name == "second" {
                            await run.sleep(.seconds(10))
                            task.cancel()
                        }
                        _ = await task.value
                    }
                }
            }
            return await run.leftovers(below: "/leaders/a")
        }
    }

    static let election = election("leader election") { run, process, name, time in
        try await LeaderElection(process, path: "/leaders/a", candidate: name).run { holder in
            await lead(holder, run, for: time)
        }
    }

    /// A negative control: a candidate looks only at the node before its own, and leads when that one is gone.
    static let electionByOneNode = election("leader election that looks at one node") { run, process, name, time in
        let line = LockLine(store: process, path: "/leaders/a")
        try await process.ensurePath("/leaders/a")
        let created = try await process.create("/leaders/a/write-\(name)-", data: [], mode: .ephemeralSequential)
        guard let node = LockNode(NodePath.name(of: created.path)) else { return }
        let place = LockLine.Place(node: node, session: created.stat.ephemeralOwner, token: created.stat.czxid)
        do {
            if let blocker = node.blocker(in: try await process.children(of: "/leaders/a").names) {
                try await process.untilDeleted("/leaders/a/\(blocker)")
            }
            try Task.checkCancellation()
            await lead(LockHolder(process, place), run, for: time)
        } catch {}
        _ = await line.leave(place)
    }

    private static func lead(_ holder: LockHolder, _ run: RecipeRun, for time: Duration) async {
        run.resource.enter(holder, shared: false)
        try? await run.simulation.clock.sleep(for: time)
        run.resource.leave(holder)
    }

    private static func counter(
        _ description: String, increment: @escaping @Sendable (InMemorySession) async throws -> Int64
    ) -> RecipeProtocol {
        RecipeProtocol(description: description) { run in
            let done = Shared<[Int64]>([])
            let unknown = Shared(0)
            await withTaskGroup(of: Void.self) { group in
                for process in [run.tested, run.second, run.third] {
                    group.addTask {
                        for _ in 0..<3 {
                            do {
                                let value = try await increment(process)
                                done.withLock { $0.append(value) }
                            } catch let error as RecipeError where error.code == .outcomeUnknown {
                                unknown.withLock { $0 += 1 }
                            } catch {}
                        }
                    }
                }
            }
            let value = try await DistributedCounter(run.second, path: "/counters/a").value()
            let (values, doubts) = (done.withLock { $0 }, unknown.withLock { $0 })
            var violations: [String] = []
            if Set(values).count != values.count { violations.append("two increments returned one value: \(values)") }
            if !(values.count...values.count + doubts).contains(Int(value)) {
                violations.append("\(values.count) increments were done, and the value is \(value)")
            }
            return violations
        }
    }

    static let counter = counter("counter") { try await DistributedCounter($0, path: "/counters/a").increment() }

    /// A negative control: a write without a response is repeated.
    static let counterThatRepeats = counter("counter that repeats a write") { store in
        while true {
            do {
                let node = try await store.get(["/counters/a"])[0]
                let value = (Int64(String(decoding: node?.data ?? [], as: UTF8.self)) ?? 0) + 1
                if let node {
                    _ = try await store.set("/counters/a", data: Array("\(value)".utf8), version: node.stat.version)
                } else {
                    _ = try await store.create("/counters/a", data: Array("\(value)".utf8), mode: .persistent)
                }
                return value
            } catch let error as ZooKeeperError where error.code == .noNode {
                try await store.ensurePath("/counters")
            } catch is ZooKeeperError {}
        }
    }

    static let barrier = RecipeProtocol(description: "barrier") { run in
        let barrier = Barrier(run.tested, path: "/barriers/a")
        await run.untilDone { try await barrier.close() }
        let passed = Shared(false)
        let waiting = Task {
            try await Barrier(run.second, path: "/barriers/a").waitUntilOpen()
            passed.withLock { $0 = true }
        }
        await run.sleep(.seconds(60))
        var violations = passed.withLock { $0 } ? ["the barrier was open too early"] : []
        await run.untilDone { try await barrier.open() }
        try await waiting.value
        try await Barrier(run.tested, path: "/barriers/a").waitUntilOpen(timeout: .seconds(60))
        violations += await run.leftovers(below: "/barriers")
        return violations
    }

    static let paths = RecipeProtocol(description: "paths") { run in
        await run.untilDone { try await run.tested.ensurePath("/a/b/c/d") }
        let nodes = run.simulation.zookeeper.nodes
        var violations = nodes["/a/b/c/d"] == nil ? ["the path is missing"] : []
        await run.untilDone { try await run.tested.ensurePath("/a/b/e") }
        await run.untilDone { try await run.tested.deleteRecursively("/a") }
        violations += await run.leftovers(below: "/a")
        return violations
    }
}
