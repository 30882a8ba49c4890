import ArgumentParser

/// A fault that a run injects for some time and then ends.
enum ClusterFault: String, CaseIterable, ExpressibleByArgument, Sendable {
    case killFollower, killLeader, killRandomServer
    /// A server is killed, its data is deleted, and it is started again.
    case wipeServer
    case stopLeader
    case rollingRestart
    /// A majority of the servers is killed.
    case majorityDown
    case diskFull
    case cutClients, cutAllClients, slowClients, resetAfterRequest
    case isolateLeader, isolateFollower
    case killProducer, killConsumer, killRecovery
    /// Processes are stopped with SIGSTOP, for three different times.
    case stopWorkers
    case moveClock

    /// The faults that kill a server or a process.
    static let kills: [ClusterFault] = [
        .killFollower, .killLeader, .killRandomServer, .wipeServer, .killProducer, .killConsumer, .killRecovery,
    ]
}
