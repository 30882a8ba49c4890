import NIOCore
import NIOHTTP1

/// What hummingbird leaves open about requests of HTTP/1.
///
/// - A body has a deadline, also when the answer did not wait for it: hummingbird reads on to its end, however slowly it comes.
/// - A request of HTTP/1.0 may lack `Host`, one of HTTP/1.1 may not, and hummingbird forgets which of them a request was.
final class RequestGuard: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart

    private let bodyTimeout: TimeAmount
    /// Whether a request has begun that has not ended.
    private var isOpen = false
    /// Closes the connection when the body of a request has not ended by then.
    private var deadline: Scheduled<Void>?
    /// Whether more bytes are waited for. Otherwise it is this side that does not read on.
    private var isReading = false

    init(bodyTimeout: TimeAmount) { self.bodyTimeout = bodyTimeout }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(var head):
            if head.version == .http1_0, !head.headers.contains(name: "Host") {
                head.headers.add(name: "Host", value: Self.address(context.channel.localAddress))
            }
            isOpen = true
            context.fireChannelRead(wrapInboundOut(.head(head)))
        case .body: context.fireChannelRead(data)
        case .end:
            isOpen = false
            deadline?.cancel()
            deadline = nil
            context.fireChannelRead(data)
        }
    }

    func read(context: ChannelHandlerContext) {
        isReading = true
        context.read()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        // Most requests come whole, in one read, and need none.
        if isOpen, deadline == nil { setDeadline(context) }
        context.fireChannelReadComplete()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        deadline?.cancel()
        deadline = nil
    }

    private func setDeadline(_ context: ChannelHandlerContext) {
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: bodyTimeout) { [self] in
            // Requests that are sent ahead wait for those before them.
            if isReading { context.close(promise: nil) } else { setDeadline(context) }
        }
    }

    /// An address as a URL has it.
    private static func address(_ address: SocketAddress?) -> String {
        guard let address, let host = address.ipAddress, let port = address.port else { return "localhost" }
        return host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Puts a guard behind the decoder. Hummingbird adds an application's own handlers further back, where a request has no
    /// version any more.
    final class Installer: ChannelInboundHandler, RemovableChannelHandler {
        // It passes on whatever comes.
        typealias InboundIn = Never

        private let bodyTimeout: Duration

        init(bodyTimeout: Duration) { self.bodyTimeout = bodyTimeout }

        func handlerAdded(context: ChannelHandlerContext) {
            let pipeline = context.pipeline.syncOperations
            do {
                let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
                let timeout = TimeAmount.nanoseconds(Int64(bodyTimeout / .nanoseconds(1)))
                try pipeline.addHandler(
                    RequestGuard(bodyTimeout: timeout),
                    position: ChannelPipeline.SynchronousOperations.Position.after(decoder))
            } catch {
                // Without its guard, a connection is not served.
                context.close(promise: nil)
            }
        }
    }
}
