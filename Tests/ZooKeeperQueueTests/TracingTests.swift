import InMemoryTracing
import Testing
import Tracing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// The spans of sends and handlers.
@Suite(.timeLimit(.minutes(1)))
struct TracingTests {
    private struct Refused: Error {}
    private let tracer = InMemoryTracer()

    private func makeQueue() throws -> MessageQueue {
        try MessageQueue(store: InMemoryZooKeeper().connect(), tracer: tracer)
    }

    private func handleAll(_ queue: MessageQueue, _ body: @escaping @Sendable (QueueMessage) async throws -> Void)
        async throws
    {
        try await queue.withConsumer { consumer in
            var messages = consumer.makeAsyncIterator()
            while let message = try await messages.next(within: .zero) { try? await message.process(body) }
        }
    }

    private func text(_ attribute: SpanAttribute?) -> String? {
        switch attribute {
        case .string(let text)?: text
        case .int64(let number)?: "\(number)"
        case .int32(let number)?: "\(number)"
        default: nil
        }
    }

    @Test("A handler's span is linked to the span that sent its message, and has OpenTelemetry's attributes")
    func link() async throws {
        let queue = try makeQueue()
        let producer = QueueProducer(queue)
        try await tracer.withAnySpan("order") { _ in
            _ = try await producer.send(.init("hello", headers: ["own": "header"], id: "order-42"))
        }
        await producer.close()
        try await handleAll(queue) { [tracer] message in
            #expect(message.headers["own"] == "header")
            // Spans that the handler starts belong to the handler's span.
            tracer.withAnySpan("inside") { _ in }
        }
        let spans = Dictionary(uniqueKeysWithValues: tracer.finishedSpans.map { ($0.operationName, $0) })
        let (order, send) = (try #require(spans["order"]), try #require(spans["send /queue"]))
        let (process, inner) = (try #require(spans["process /queue"]), try #require(spans["inside"]))
        #expect(send.kind == .producer && process.kind == .consumer)
        #expect(send.traceID == order.traceID && send.parentSpanID == order.spanID)
        #expect(process.traceID != send.traceID)
        let linked = try #require(process.links.first?.context.inMemorySpanContext)
        #expect(linked.traceID == send.traceID && linked.spanID == send.spanID)
        #expect(inner.parentSpanID == process.spanID)
        for (span, operation) in [(send, "send"), (process, "process")] {
            #expect(text(span.attributes.get("messaging.system")) == "zookeeper")
            #expect(text(span.attributes.get("messaging.operation.name")) == operation)
            #expect(text(span.attributes.get("messaging.operation.type")) == operation)
            #expect(text(span.attributes.get("messaging.destination.name")) == "/queue")
            #expect(text(span.attributes.get("messaging.message.id")) == "order-42")
            #expect(text(span.attributes.get("messaging.message.body.size")) == "5")
        }
        #expect(text(process.attributes.get("messaging.zookeeper.message.delivery_count")) == "1")
    }

    @Test("A failure is noted at its span, and each delivery has a span of its own")
    func failures() async throws {
        let queue = try makeQueue()
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: ["a", "b"].map { OutgoingMessage($0) })
        await #expect(throws: QueueError.self) { try await producer.send(.init("c", priority: 1_000)) }
        await producer.close()
        try await handleAll(queue) { message in if message.deliveryCount == 1 { throw Refused() } }
        let sends = tracer.finishedSpans.filter { $0.operationName == "send /queue" }
        #expect(text(sends.first?.attributes.get("messaging.batch.message_count")) == "2")
        #expect(sends.first?.status == nil && sends.last?.status?.code == .error)
        #expect(text(sends.last?.attributes.get("error.type")) == "invalidArgument")
        let handlers = tracer.finishedSpans.filter { $0.operationName == "process /queue" }
        #expect(handlers.count == 4)
        #expect(handlers.count { $0.status?.code == .error && !$0.errors.isEmpty } == 2)
        #expect(handlers.contains { text($0.attributes.get("error.type"))?.contains("Refused") == true })
    }

    @Test("Messages of a transaction and of an acknowledgement carry the context too, and a given context stays")
    func transactions() async throws {
        let queue = try makeQueue()
        try await queue.transaction { $0.send(.init("first"), to: queue) }
        try await handleAll(queue) { message in
            guard message.payload == Array("first".utf8) else { return }
            let given = [InMemoryTracer.traceIDKey: "given", InMemoryTracer.spanIDKey: "span"]
            try await message.acknowledge(
                sending: [.init("second"), .init("third", headers: given)], to: queue)
        }
        let spans = tracer.finishedSpans
        let first = try #require(spans.first { $0.operationName == "process /queue" })
        let send = try #require(spans.first { $0.operationName == "send /queue" })
        #expect(first.links.first?.context.inMemorySpanContext?.spanID == send.spanID)
        let others = spans.filter { $0.operationName == "process /queue" }.dropFirst()
        let traces = others.compactMap { $0.links.first?.context.inMemorySpanContext?.traceID }
        #expect(traces == [first.traceID, "given"])
    }

    @Test("Without a tracer, a message has no headers beyond its own, and no envelope")
    func noTracer() async throws {
        let zookeeper = InMemoryZooKeeper()
        let queue = try MessageQueue(store: zookeeper.connect())
        let producer = QueueProducer(queue)
        let name = try #require(try await producer.send("hello").nodeName)
        await producer.close()
        #expect(zookeeper.nodes["/queue/items/\(name)"]?.data == Array("hello".utf8))
    }
}
