/// A server as the others know it: its number, from 1 on, and its ports of loopback.
struct LocalMember: Sendable {
    let id: Int
    let port: Int
    var quorum: Int
    let election: Int

    init(id: Int, port: Int, chooser: inout PortChooser) throws {
        (self.id, self.port) = (id, port)
        (quorum, election) = (try chooser.free(), try chooser.free())
    }

    /// For a configuration that says where clients are served elsewhere.
    var plainAddress: String { "127.0.0.1:\(quorum):\(election)" }
    /// For one that can be changed.
    var address: String { "\(plainAddress):participant;127.0.0.1:\(port)" }
}
