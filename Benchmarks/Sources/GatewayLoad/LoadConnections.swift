import LoadSupport
import NIOCore
import NIOHTTP1
import NIOPosix

/// Kept-alive connections, each with one request at a time.
struct LoadConnections {
    let port: Int
    let count: Int
    let duration: Duration

    /// Runs a script on each connection.
    ///
    /// - Returns: the number of completed messages a second.
    /// - Throws: an error when a connection ends, or a response is not as it should be.
    func run(_ script: @escaping @Sendable () -> any Script) async throws -> Double {
        let group = MultiThreadedEventLoopGroup.singleton
        let start = ContinuousClock.now
        let end = start + duration
        let done = Counter()
        try await withThrowingDiscardingTaskGroup { tasks in
            for _ in 0..<count {
                tasks.addTask {
                    let hasEnded = group.next().makePromise(of: Void.self)
                    let channel = try await ClientBootstrap(group: group)
                        .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                        .channelInitializer { channel in
                            channel.eventLoop.makeCompletedFuture {
                                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                                try channel.pipeline.syncOperations.addHandler(
                                    LoadHandler(script(), until: end, done, hasEnded))
                            }
                        }.connect(host: "127.0.0.1", port: port).get()
                    do {
                        try await hasEnded.futureResult.get()
                    } catch {
                        try? await channel.close()
                        throw error
                    }
                    try? await channel.close()
                }
            }
        }
        return Double(done.value) / (start.duration(to: .now) / .seconds(1))
    }
}

/// Drives one connection: sends the next request when the response is complete.
private final class LoadHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private var script: any Script
    private let end: ContinuousClock.Instant
    private let done: Counter
    private let hasEnded: EventLoopPromise<Void>
    private var status = 0
    private var body = ByteBuffer()

    init(_ script: any Script, until end: ContinuousClock.Instant, _ done: Counter, _ hasEnded: EventLoopPromise<Void>)
    {
        self.script = script
        self.end = end
        self.done = done
        self.hasEnded = hasEnded
    }

    func channelActive(context: ChannelHandlerContext) { advance(nil, context) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            status = Int(head.status.code)
            body.clear()
        case .body(var part): body.writeBuffer(&part)
        case .end: advance(Response(status: status, body: body), context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        hasEnded.fail(LoadError(description: "The gateway has closed a connection."))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { hasEnded.fail(error) }

    private func advance(_ response: Response?, _ context: ChannelHandlerContext) {
        let step = script.next(after: response)
        if step.isWorkDone { done.increment() }
        guard let next = step.request else {
            let text = String(buffer: response?.body ?? ByteBuffer())
            return hasEnded.fail(
                LoadError(
                    description: "The gateway sent an unexpected response with status \(response?.status ?? 0): \(text)"
                ))
        }
        if step.mayEnd, ContinuousClock.now >= end { return hasEnded.succeed() }
        var head = HTTPRequestHead(version: .http1_1, method: .POST, uri: next.path)
        head.headers.add(name: "host", value: "127.0.0.1")
        head.headers.add(name: "content-type", value: "application/octet-stream")
        head.headers.add(name: "accept", value: "application/json")
        head.headers.add(name: "content-length", value: "\(next.body?.readableBytes ?? 0)")
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if let body = next.body { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
}
