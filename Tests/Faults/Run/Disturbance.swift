/// Something that goes wrong in a run, and is over some time later.
enum Disturbance: String, CaseIterable, Sendable {
    case killFollower, killLeader, killRandomServer
    /// Killed, its data deleted, and started again.
    case wipeServer
    case stopLeader
    case rollingRestart
    /// More servers are down than a majority allows.
    case majorityDown
    case diskFull
    case cutClients, slowClients, resetAfterRequest
    case isolateLeader, isolateFollower
    case killProducer, killConsumer, killRecovery
    case stopProducer, stopConsumer, stopRecovery
    case moveClock

    /// Those that kill something.
    static let kills: [Disturbance] = [
        .killFollower, .killLeader, .killRandomServer, .wipeServer, .killProducer, .killConsumer, .killRecovery,
    ]
}
