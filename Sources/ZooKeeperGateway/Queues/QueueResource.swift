import GatewayProtocol
import HTTPTypes
import ZooKeeper
import ZooKeeperQueue

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The resource `/queues/v1/<queue path>`: a queue, for programs that speak HTTP.
struct QueueResource {
    let endpoint: Endpoint
    let request: GatewayRequest
    let route: QueueRoute
    let path: String

    /// - Parameter rawPath: the part of the path after `/queues/v1/`, still percent-encoded.
    init(_ endpoint: Endpoint, _ request: GatewayRequest, rawPath: String) throws(GatewayResponse) {
        self.endpoint = endpoint
        self.request = request
        var segments: [String] = []
        for text in rawPath.split(separator: "/", omittingEmptySubsequences: false) {
            guard let segment = URLText.decoded(text), !segment.utf8.contains(UInt8(ascii: "/")) else {
                throw GatewayResponse.problem(
                    .badRequest, "invalidArgument",
                    "The queue's path is not valid percent-encoded UTF-8, or contains an encoded slash.")
            }
            segments.append(segment)
        }
        let (route, count) = QueueRoute.of(segments)
        self.route = route
        path = "/" + segments.prefix(count).joined(separator: "/")
    }

    func respond() async throws -> GatewayResponse {
        if route.methods.contains(request.method) { try request.allowQuery(route.queryNames(request.method)) }
        do {
            let queue = try endpoint.queues.queue(path)
            switch (request.method, route) {
            case (.get, .queue): return try await counts(queue)
            case (.post, .messages): return try await send(to: try await servedQueue())
            case (.get, .messages): return try await peek(queue)
            case (.delete, .messages): return try Self.json(.ok, QueueDTOs.Count(count: await queue.purge()))
            case (.get, .message(let name)): return try await message(try await queue.message(nodeName: name))
            case (.delete, .message(let name)):
                return try await message(try await queue.cancelMessage(nodeName: name))
            case (.post, .move(let name)):
                return try await move(name, in: queue)
            case (.get, .id(let id)): return try await lookup(id, in: queue)
            case (.delete, .id(let id)): return try await message(try await queue.cancelMessage(id: id))
            case (.post, .leases): return try await lease(queue)
            case (.post, .lease(let id, let action)): return try await settle(id, action)
            case (.get, .dead): return try await dead(queue)
            case (.delete, .dead): return try Self.json(.ok, QueueDTOs.Count(count: await queue.purgeDeadLetters()))
            case (.post, .redriveAll): return try Self.json(.ok, QueueDTOs.Count(count: await queue.redriveAll()))
            case (.post, .redrive(let name)):
                try await queue.redrive(name)
                return GatewayResponse(.noContent)
            case (.get, .delayed): return try await delayed(queue)
            case (.delete, .delayedMessage(let name)):
                try await queue.cancelDelayed(name)
                return GatewayResponse(.noContent)
            case (.post, .runNow(let name)):
                try await queue.deliverNow(name)
                return GatewayResponse(.noContent)
            case (.get, .consumers):
                return try Self.json(.ok, QueueDTOs.Consumers(consumers: try await queue.consumers().map { .init($0) }))
            case (.post, .release(let name)):
                try await queue.releaseLease(ofNode: name)
                return GatewayResponse(.noContent)
            case (.post, .pause): return try await changePaused(queue) { $0.formUnion($1) }
            case (.post, .resume): return try await changePaused(queue) { $0.subtract($1) }
            default: return .methodNotAllowed(route.methods.map(\.rawValue).joined(separator: ", "))
            }
        } catch let error as QueueError {
            var response = GatewayResponse.problem(
                Self.status(error.code), Self.name(of: error.code), message(for: error))
            if [.queueFull, .paused].contains(error.code) { response.headers[.retryAfter] = "1" }
            return response
        } catch let error as QueueDTOs.InvalidRequest {
            return .problem(.badRequest, "invalidArgument", error.message)
        }
    }

    /// Lists the known queues, at `/queues/v1` itself.
    static func list(_ endpoint: Endpoint, _ request: GatewayRequest) async throws -> GatewayResponse {
        guard request.method == .get else { return .methodNotAllowed("GET") }
        try request.allowQuery([])
        do {
            return try json(.ok, QueueDTOs.Queues(queues: try await endpoint.queues.paths(endpoint)))
        } catch let error as ZooKeeperError {
            let mapping = ErrorMapping(error, path: "/", isConnected: endpoint.client.sessionState.phase == .connected)
            let reason =
                [.serviceUnavailable, .gatewayTimeout].contains(mapping.status)
                ? "ZooKeeper did not respond in time, so the queues could not be listed. Try again later."
                : "ZooKeeper refused to list the queues. Check the gateway's permissions."
            return .problem(mapping.status, "unreachable", reason)
        }
    }

    private func servedQueue() async throws -> HTTPQueues.ServedQueue {
        guard let queue = try await endpoint.queues.servedQueue(path) else {
            throw GatewayResponse.problem(
                .serviceUnavailable, "overloaded",
                "The gateway already serves its maximum number of queues, or is shutting down. Try again later.")
        }
        return queue
    }

    // MARK: Messages

    private func send(to queue: HTTPQueues.ServedQueue) async throws -> GatewayResponse {
        let priority = try integer("priority", in: 0...999, default: 100)
        let delay = try milliseconds("delayMilliseconds") ?? 0
        let time = try milliseconds("deliverAt").map { EnsembleTime(millisecondsSince1970: $0) }
        let lifetime = try milliseconds("expiresAfterMilliseconds").map { Duration.milliseconds($0) }
        let expiry = try milliseconds("expiresAt").map { EnsembleTime(millisecondsSince1970: $0) }
        let trace = TraceHeaders.messageHeaders(request.headers)
        let receipts: [SendReceipt]
        if request.isJSON {
            let body = try QueueDTOs.Send(reading: request.body)
            var messages: [OutgoingMessage] = []
            for message in body.messages { messages.append(try message.outgoing()) }
            // The headers of one context belong together.
            for index in messages.indices where trace.keys.allSatisfy({ messages[index].headers[$0] == nil }) {
                messages[index].headers.merge(trace) { _, added in added }
            }
            let size = messages.reduce(0) { $0 + $1.payload.count }
            guard size <= endpoint.maximumBodySize else {
                return .problem(
                    .contentTooLarge, "payloadTooLarge",
                    "The payloads have \(size) bytes in total, but the limit of a request is "
                        + "\(endpoint.maximumBodySize). Send less at a time.")
            }
            receipts = try await queue.producer.send(contentsOf: messages)
        } else {
            let id = HTTPField.Name("Idempotency-Key").flatMap { request.headers[$0] }
            // Decoding a header preserves ASCII only.
            guard id?.utf8.allSatisfy({ (0x20..<0x7F).contains($0) }) ?? true else {
                throw QueueDTOs.InvalidRequest(
                    message: "The Idempotency-Key is not valid. Use only printable ASCII characters.")
            }
            let message = OutgoingMessage(
                request.body, priority: priority, headers: trace, id: id, delay: .milliseconds(delay), deliverAt: time,
                expiresAfter: lifetime, expiresAt: expiry, group: request.query["group"])
            receipts = [try await queue.producer.send(message)]
        }
        return try Self.json(.created, QueueDTOs.Sent(receipts))
    }

    private func peek(_ queue: MessageQueue) async throws -> GatewayResponse {
        let messages = try await queue.peek(limit: integer("limit", in: 1...Self.maximumLimit, default: 20))
        return try Self.json(.ok, QueueDTOs.Peeked(messages: messages.map { .init($0) }))
    }

    private func message(_ status: MessageStatus?) async throws -> GatewayResponse {
        guard let status else { return Self.noMessage }
        return try Self.json(.ok, QueueDTOs.Status(status: status))
    }

    private func move(_ name: String, in queue: MessageQueue) async throws -> GatewayResponse {
        guard request.query["priority"] != nil else {
            throw QueueDTOs.InvalidRequest(message: "The query parameter priority is missing.")
        }
        let newName = try await queue.moveMessage(
            nodeName: name, toPriority: integer("priority", in: 0...999, default: 100))
        return try Self.json(.ok, newName.map { ["name": $0] } ?? [:])
    }

    private func lookup(_ id: String, in queue: MessageQueue) async throws -> GatewayResponse {
        switch try await queue.message(id: id) {
        case .found(let status): return try await message(status)
        case .finished: return try Self.json(.ok, ["place": "finished"])
        case .unknown: return Self.noMessage
        }
    }

    private static let noMessage = GatewayResponse.problem(
        .notFound, "notFound", "There is no such message. It may be acknowledged.")

    /// All of these messages are in memory at once, and each can have half a megabyte.
    private static let maximumLimit = 100

    private func counts(_ queue: MessageQueue) async throws -> GatewayResponse {
        guard ["true", "false", nil].contains(request.query["age"]) else {
            throw QueueDTOs.InvalidRequest(message: "The query parameter age must be true or false.")
        }
        let (statistics, capacity) = (try await queue.statistics(), try await queue.attributes().capacity)
        // The gateway may lack the permission to list the items, or the list may be too long to read in time. The
        // response contains the other counts in either case.
        let age = request.flag("age") ? try? await queue.oldestMessageAge() : nil
        return try Self.json(.ok, QueueDTOs.Counts(statistics, capacity, oldestMessageAge: age))
    }

    private func dead(_ queue: MessageQueue) async throws -> GatewayResponse {
        let letters = try await queue.deadLetters(limit: integer("limit", in: 1...Self.maximumLimit, default: 20))
        return try Self.json(.ok, QueueDTOs.DeadLetters(messages: letters.map { .init(letter: $0) }))
    }

    private func delayed(_ queue: MessageQueue) async throws -> GatewayResponse {
        let messages = try await queue.delayedMessages(
            limit: integer("limit", in: 1...Self.maximumLimit, default: 20))
        return try Self.json(.ok, QueueDTOs.DelayedMessages(messages: messages.map { .init(message: $0) }))
    }

    /// Changes what is paused.
    ///
    /// - Parameter change: receives what is paused, and the activities of the request.
    private func changePaused(
        _ queue: MessageQueue,
        _ change: (inout Set<QueueAttributes.Activity>, Set<QueueAttributes.Activity>) -> Void
    ) async throws -> GatewayResponse {
        let activities = try QueueDTOs.Activities.reading(request.body)
        let attributes = try await queue.update { change(&$0.paused, activities) }
        return try Self.json(.ok, QueueDTOs.Paused(attributes.paused))
    }

    // MARK: Leases

    private static let maximumWait = 60
    private static let maximumLeaseDuration = 43_200

    private func lease(_ queue: MessageQueue) async throws -> GatewayResponse {
        let count = try integer("count", in: 1...100, default: 1)
        let wait = try integer("wait", in: 0...Self.maximumWait, default: 0)
        let seconds = try integer("seconds", in: 1...Self.maximumLeaseDuration, default: 30)
        // Reports a missing queue at once instead of waiting for it. While clients receive messages from the queue, no
        // check is needed: the consumer itself reports that the queue is missing.
        if await endpoint.queues.leases(path)?.isActive != true { _ = try await queue.attributes() }
        let servedQueue = try await servedQueue()
        guard
            let leased = try await servedQueue.leases.lease(count, wait: .seconds(wait), for: .seconds(seconds))
        else {
            return .problem(
                .tooManyRequests, "overloaded",
                "The gateway has already leased its maximum number of messages of this queue, or is shutting down. "
                    + "Settle some messages, or try again later.")
        }
        let isOctets = MediaType(accepting: request.headers, default: .json) == .octets
        if isOctets, count == 1 {
            guard let (id, message) = leased.first else { return GatewayResponse(.noContent, .octets) }
            var response = GatewayResponse(.ok, .octets, bytes: message.payload)
            for (name, value) in [
                ("Lease", id), ("Fencing-Token", "\(message.fencingToken)"), ("Message-Name", message.nodeName),
                ("Delivery-Count", "\(message.deliveryCount)"), ("Priority", "\(message.priority)"),
            ] {
                if let name = HTTPField.Name("X-Queue-\(name)") { response.headers[name] = value }
            }
            return response
        }
        let leases = leased.map { QueueDTOs.Lease(lease: $0.id, message: $0.message, seconds: seconds) }
        return try Self.json(.ok, QueueDTOs.Leases(leases: leases))
    }

    private func settle(_ id: String, _ action: QueueRoute.LeaseAction) async throws -> GatewayResponse {
        guard let leases = await endpoint.queues.leases(path), let message = await leases.lease(id),
            request.query["token"] == "\(message.fencingToken)"
        else {
            return .problem(
                .notFound, "leaseLost",
                "No lease has this ID and fencing token. The lease has ended, or the ID or the token is wrong.")
        }
        switch action {
        case .extend:
            let seconds = try integer("seconds", in: 1...Self.maximumLeaseDuration, default: 30)
            if message.leaseState == .suspended {
                return .problem(
                    .serviceUnavailable, "unreachable",
                    "Not extended: the lease is suspended, because no server responds. Try again later.")
            }
            guard message.leaseState == .held, await leases.extend(id, by: .seconds(seconds)) else {
                return .problem(
                    .conflict, "leaseLost",
                    "Not extended: the lease has ended, and the message has been or will be redelivered.")
            }
            return try Self.json(.ok, QueueDTOs.Extended(seconds: seconds))
        case .acknowledge: try await settle(leases, id, message) { try await message.acknowledge() }
        case .requeue:
            let delay = try milliseconds("delayMilliseconds") ?? 0
            try await settle(leases, id, message) {
                try await message.requeue(after: .milliseconds(delay), reason: request.query["reason"])
            }
        case .deadLetter:
            try await settle(leases, id, message) {
                try await message.deadLetter(reason: request.query["reason"] ?? "dead-lettered over HTTP")
            }
        }
        return GatewayResponse(.noContent)
    }

    /// Runs `body`, and removes the lease once it has certainly ended.
    private func settle(
        _ leases: HTTPLeases, _ id: String, _ message: QueueMessage, _ body: () async throws -> Void
    ) async throws {
        do {
            try await body()
        } catch {
            if [.lost, .settled].contains(message.leaseState) { await leases.remove(id) }
            throw error
        }
        await leases.remove(id)
    }

    // MARK: Helpers

    /// Returns the message of an error, with a remedy that a client of HTTP can use.
    private func message(for error: QueueError) -> String {
        if error.code == .queueNotFound, error.cause == nil {
            return "There is no queue at \(path). Check the path, or send a message, which creates the queue."
        }
        if error.unresolvedSend != nil {
            return "The request timed out while the messages were in flight, so they may or may not be stored. Only "
                + "messages with an ID can be sent again without a duplicate."
        }
        return error.message
    }

    private func integer(_ name: ExactString, in range: ClosedRange<Int>, default standard: Int) throws -> Int {
        guard let text = request.query[name] else { return standard }
        guard let value = Int(text), range.contains(value) else {
            throw QueueDTOs.InvalidRequest(
                message: "The query parameter \(name.string) must be a number from \(range.lowerBound) to "
                    + "\(range.upperBound).")
        }
        return value
    }

    /// Returns a number of milliseconds; `nil` when the request has none. The library checks its limits.
    private func milliseconds(_ name: ExactString) throws -> Int64? {
        guard let text = request.query[name] else { return nil }
        guard let value = Int64(text) else {
            throw QueueDTOs.InvalidRequest(
                message: "The query parameter \(name.string) must be a whole number of milliseconds.")
        }
        return value
    }

    private static func status(_ code: QueueError.Code) -> HTTPResponse.Status {
        switch code {
        case .invalidArgument: .badRequest
        case .permissionDenied: .forbidden
        case .queueNotFound, .notFound: .notFound
        case .leaseLost, .alreadySettled: .conflict
        case .payloadTooLarge: .contentTooLarge
        case .queueFull, .overloaded: .tooManyRequests
        case .quotaExceeded: .init(code: 507, reasonPhrase: "Insufficient Storage")
        case .unsupportedFormat: .notImplemented
        case .timedOut, .closed, .paused: .serviceUnavailable
        case .outcomeUnknown: .gatewayTimeout
        default: .badGateway
        }
    }

    /// Returns the code of a problem. The interface keeps the names that its first release had for some codes.
    private static func name(of code: QueueError.Code) -> String {
        switch code {
        case .queueNotFound: "queueMissing"
        case .permissionDenied: "notPermitted"
        case .timedOut: "unreachable"
        default: code.description
        }
    }

    private static func json(_ status: HTTPResponse.Status, _ value: some Encodable) throws -> GatewayResponse {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return GatewayResponse(status, .json, bytes: Array(try encoder.encode(value)))
    }
}
