import NIOCore
import NIOHTTP1

/// Enforces what Hummingbird does not check in HTTP/1 requests.
///
/// - The body of a request has a deadline, even when the response did not wait for the body. Hummingbird keeps reading
///   to the end of the body, however slowly it arrives.
/// - An HTTP/1.0 request may lack `Host`, but an HTTP/1.1 request may not. Hummingbird does not keep the version of a
///   request.
final class RequestGuard: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart

    private let bodyTimeout: TimeAmount
    /// Whether a request has begun and has not ended.
    private var isOpen = false
    /// Closes the connection when the body of a request does not end in time.
    private var deadline: Scheduled<Void>?
    /// Whether the server wants more bytes. If not, it is the server that delays the body.
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
        // Most requests arrive in one read, and need no deadline.
        if isOpen, deadline == nil { setDeadline(context) }
        context.fireChannelReadComplete()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        deadline?.cancel()
        deadline = nil
    }

    private func setDeadline(_ context: ChannelHandlerContext) {
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: bodyTimeout) { [self] in
            // While the server does not read, a pipelined request is waiting for the requests before it.
            if isReading { context.close(promise: nil) } else { setDeadline(context) }
        }
    }

    /// Returns an address as it appears in a URL.
    private static func address(_ address: SocketAddress?) -> String {
        guard let address, let host = address.ipAddress, let port = address.port else { return "localhost" }
        return host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Adds a guard directly after the decoder. Hummingbird adds an application's handlers further back, where a
    /// request no longer has a version.
    final class Installer: ChannelInboundHandler, RemovableChannelHandler {
        // The handler forwards everything unread.
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
                // A connection without a guard must not be served.
                context.close(promise: nil)
            }
        }
    }
}
