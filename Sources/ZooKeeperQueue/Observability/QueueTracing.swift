import Tracing

/// The spans of a queue, with the attributes of OpenTelemetry's conventions for messaging:
/// https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
struct QueueTracing: Sendable {
    private let tracer: any Tracer
    private let queue: String

    /// `nil` without a tracer, so that nothing is done for one.
    init?(queue: String, tracer: any Tracer) {
        if tracer is NoOpTracer { return nil }
        self.queue = queue
        self.tracer = tracer
    }

    /// Runs a send in a span, whose context the messages get as headers.
    func send<Result>(
        _ messages: [OutgoingMessage], _ body: ([OutgoingMessage]) async throws -> Result
    ) async throws -> Result {
        try await tracer.withAnySpan("send \(queue)", ofKind: .producer) { span in
            set(&span.attributes, operation: "send")
            if messages.count == 1 {
                span.attributes["messaging.message.body.size"] = messages[0].payload.count
                if let id = messages[0].id { span.attributes["messaging.message.id"] = id }
            } else {
                span.attributes["messaging.batch.message_count"] = messages.count
            }
            return try await noting(span) { try await body(messages.map(inject)) }
        }
    }

    /// Returns the message with the context of the current span in its headers. Headers that the message has already
    /// stay as they are, for example those that a gateway passes on.
    func inject(_ message: OutgoingMessage) -> OutgoingMessage {
        guard let context = ServiceContext.current else { return message }
        var carrier: [String: String] = [:]
        tracer.inject(context, into: &carrier, using: Headers())
        // The headers of one context belong together.
        if carrier.keys.contains(where: { message.headers[$0] != nil }) { return message }
        var message = message
        message.headers.merge(carrier) { _, added in added }
        return message
    }

    /// Runs a handler in a span that is linked to the span that sent the message.
    ///
    /// - Parameter job: the name of the job that the message is.
    func process<Result>(
        _ message: QueueMessage, job: String?, _ body: () async throws -> Result
    ) async throws -> Result {
        var sender = ServiceContext.topLevel
        tracer.extract(message.headers, into: &sender, using: Headers())
        return try await tracer.withAnySpan("process \(job ?? queue)", ofKind: .consumer) { span in
            if !sender.isEmpty { span.addLink(SpanLink(context: sender, attributes: [:])) }
            set(&span.attributes, operation: "process")
            span.attributes["messaging.message.id"] = message.id ?? message.nodeName
            span.attributes["messaging.message.body.size"] = message.payload.count
            span.attributes["messaging.zookeeper.message.delivery_count"] = message.deliveryCount
            if let job { span.attributes["messaging.zookeeper.job.name"] = job }
            return try await noting(span, body)
        }
    }

    private func set(_ attributes: inout SpanAttributes, operation: String) {
        attributes["messaging.system"] = "zookeeper"
        attributes["messaging.operation.name"] = operation
        attributes["messaging.operation.type"] = operation
        attributes["messaging.destination.name"] = queue
    }

    /// Notes the type of an error at the span. The tracer records the error itself.
    private func noting<Result>(_ span: any Span, _ body: () async throws -> Result) async throws -> Result {
        do {
            return try await body()
        } catch {
            span.attributes["error.type"] =
                (error as? QueueError)?.code.description ?? "\(type(of: error))"
            span.setStatus(SpanStatus(code: .error))
            throw error
        }
    }

    /// Headers as the carrier of a context.
    private struct Headers: Injector, Extractor {
        func inject(_ value: String, forKey key: String, into carrier: inout [String: String]) { carrier[key] = value }
        func extract(key: String, from carrier: [String: String]) -> String? { carrier[key] }
    }
}
