// The code of the documentation of the recipes.
import ZooKeeper
import ZooKeeperRecipes

// Stand for the application's code.
func writeReport(token: Int64) async throws {}
func readCatalogue() async throws {}
func writeCatalogue(token: Int64) async throws {}
func billNextCustomer(token: Int64) async throws {}

func lock(_ zookeeper: ZooKeeperClient) async throws {
    // snippet.lock
    let lock = DistributedLock(zookeeper, path: "/locks/report")
    try await lock.withLock(timeout: .seconds(30)) { holder in
        try await writeReport(token: holder.fencingToken)
    }
    // snippet.end
}

func readWriteLock(_ zookeeper: ZooKeeperClient) async throws {
    // snippet.read-write-lock
    let lock = ReadWriteLock(zookeeper, path: "/locks/catalogue")
    try await lock.withReadLock { _ in try await readCatalogue() }
    try await lock.withWriteLock { holder in try await writeCatalogue(token: holder.fencingToken) }
    // snippet.end
}

func election(_ zookeeper: ZooKeeperClient) async throws {
    // snippet.election
    let election = LeaderElection(zookeeper, path: "/leaders/billing", candidate: "host-1")
    try await election.run { leadership in
        while !Task.isCancelled { try await billNextCustomer(token: leadership.fencingToken) }
    }
    // snippet.end
}

func barrier(_ zookeeper: ZooKeeperClient) async throws {
    // snippet.barrier
    let maintenance = Barrier(zookeeper, path: "/barriers/maintenance")
    try await maintenance.close()
    try await maintenance.waitUntilOpen(timeout: .seconds(60))  // in other processes
    try await maintenance.open()
    // snippet.end
}

func counter(_ zookeeper: ZooKeeperClient) async throws {
    // snippet.counter
    let invoices = DistributedCounter(zookeeper, path: "/counters/invoices")
    let number = try await invoices.increment()
    // snippet.end
    _ = number
}
