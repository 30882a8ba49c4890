/// Something that goes wrong in a run, and is over some time later.
enum ClusterFault: String, CaseIterable, Sendable {
    case killFollower, killLeader, killRandomServer
    /// Killed, its data deleted, and started again.
    case wipeServer
    case stopLeader
    case rollingRestart
    /// More servers are down than a majority allows.
    case majorityDown
    case diskFull
    case cutClients, cutAllClients, slowClients, resetAfterRequest
    case isolateLeader, isolateFollower
    case killProducer, killConsumer, killRecovery
    /// Stopped with SIGSTOP, for as long as each of three lengths.
    case stopWorkers
    case moveClock

    /// Those that kill something.
    static let kills: [ClusterFault] = [
        .killFollower, .killLeader, .killRandomServer, .wipeServer, .killProducer, .killConsumer, .killRecovery,
    ]
}
