/// A server's id, from 1 on, and its ports on loopback.
struct LocalMember: Sendable {
    let id: Int
    let port: Int
    var quorum: Int
    let election: Int
    /// The port for encrypted connections, if there is one.
    let securePort: Int?

    init(id: Int, port: Int, isSecure: Bool, chooser: inout PortChooser) throws {
        (self.id, self.port) = (id, port)
        securePort = isSecure ? try chooser.free() : nil
        (quorum, election) = (try chooser.free(), try chooser.free())
    }

    /// The address for a configuration that has the client port in another line.
    var plainAddress: String { "127.0.0.1:\(quorum):\(election)" }
    /// The address for a configuration that can be changed while the servers run.
    var address: String { "\(plainAddress):participant;127.0.0.1:\(port)" }
}
