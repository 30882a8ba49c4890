import NIOCore
import NIOPosix
import Synchronization

/// A relay between a client and a server on loopback, which can change what the server sends.
final class Relay: Sendable {
    let port: Int
    private let listener: any Channel

    /// - Parameter change: Changes bytes from the server.
    static func start(
        host: String = "127.0.0.1", to port: Int, change: @escaping @Sendable (inout ByteBuffer) -> Void = { _ in }
    ) async throws -> Relay {
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { client in
                client.eventLoop.makeCompletedFuture {
                    let toServer = RelayHandler { _ in }
                    let toClient = RelayHandler(change)
                    try client.pipeline.syncOperations.addHandler(toServer)
                    toClient.peer = client
                    let bound = NIOLoopBound((toServer, toClient), eventLoop: client.eventLoop)
                    // On the same event loop, so that the two handlers share no state between threads.
                    ClientBootstrap(group: client.eventLoop)
                        .channelInitializer { server in
                            server.eventLoop.makeCompletedFuture {
                                try server.pipeline.syncOperations.addHandler(bound.value.1)
                            }
                        }
                        .connect(host: "127.0.0.1", port: port)
                        .whenComplete { result in
                            switch result {
                            case .success(let server): bound.value.0.connected(server)
                            case .failure: client.close(promise: nil)
                            }
                        }
                }
            }
            .bind(host: host, port: 0).get()
        return Relay(listener)
    }

    private init(_ listener: any Channel) {
        self.listener = listener
        port = listener.localAddress?.port ?? 0
    }

    func stop() async { try? await listener.close() }
}

/// Passes what arrives at one channel to the other. Used on one event loop only.
private final class RelayHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    var peer: (any Channel)?
    private var waiting: [ByteBuffer] = []
    private let change: @Sendable (inout ByteBuffer) -> Void

    init(_ change: @escaping @Sendable (inout ByteBuffer) -> Void) { self.change = change }

    func connected(_ peer: any Channel) {
        self.peer = peer
        for buffer in waiting { peer.writeAndFlush(buffer, promise: nil) }
        waiting = []
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        change(&buffer)
        if let peer { peer.writeAndFlush(buffer, promise: nil) } else { waiting.append(buffer) }
    }

    func channelInactive(context: ChannelHandlerContext) { peer?.close(promise: nil) }
}
