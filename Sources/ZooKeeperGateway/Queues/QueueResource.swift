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
                throw GatewayResponse.problem(.badRequest, "invalidArgument", "The path is not valid.")
            }
            segments.append(segment)
        }
        let (route, count) = QueueRoute.of(segments)
        self.route = route
        path = "/" + segments.prefix(count).joined(separator: "/")
    }

    func answer() async throws -> GatewayResponse {
        if route.methods.contains(request.method) { try request.allowQuery(route.queryNames(request.method)) }
        do {
            let queue = try endpoint.queues.queue(path)
            switch (request.method, route) {
            case (.get, .queue): return try await counts(queue)
            case (.post, .messages): return try await send(try await member())
            case (.get, .messages): return try await peek(queue)
            case (.delete, .messages): return try Self.json(.ok, QueueDTOs.Count(count: await queue.purge()))
            case (.post, .leases): return try await take(queue)
            case (.post, .lease(let id, let action)): return try await settle(id, action)
            case (.get, .dead): return try await dead(queue)
            case (.delete, .dead): return try Self.json(.ok, QueueDTOs.Count(count: await queue.purgeDeadLetters()))
            case (.post, .redriveAll): return try Self.json(.ok, QueueDTOs.Count(count: await queue.redriveAll()))
            case (.post, .redrive(let name)):
                try await queue.redrive(name)
                return GatewayResponse(.noContent)
            default: return .methodNotAllowed(route.methods.map(\.rawValue).joined(separator: ", "))
            }
        } catch let error as QueueError {
            var answer = GatewayResponse.problem(Self.status(error.code), Self.name(of: error.code), error.message)
            if error.code == .queueFull { answer.headers[.retryAfter] = "1" }
            return answer
        } catch let error as QueueDTOs.FormError {
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
            let refusal = ErrorMapping(error, path: "/", isConnected: endpoint.client.sessionState.phase == .connected)
            return .problem(refusal.status, "unreachable", refusal.message)
        }
    }

    private func member() async throws -> HTTPQueues.ServedQueue {
        guard let member = try await endpoint.queues.member(path) else {
            throw GatewayResponse.problem(
                .serviceUnavailable, "overloaded", "The gateway serves too many queues already.")
        }
        return member
    }

    // MARK: Messages

    private func send(_ member: HTTPQueues.ServedQueue) async throws -> GatewayResponse {
        let priority = try number("priority", 0...999, 100)
        let receipts: [SendReceipt]
        if request.isJSON {
            let form = try QueueDTOs.Send(reading: request.body)
            var messages: [OutgoingMessage] = []
            for message in form.messages { messages.append(try message.outgoing()) }
            let size = messages.reduce(0) { $0 + $1.payload.count }
            guard size <= endpoint.maximumBodySize else {
                return .problem(
                    .contentTooLarge, "payloadTooLarge",
                    "The payloads are \(size) bytes long and the limit of a request is \(endpoint.maximumBodySize): "
                        + "send less at once.")
            }
            receipts = try await member.producer.send(contentsOf: messages)
        } else {
            let id = HTTPField.Name("Idempotency-Key").flatMap { request.headers[$0] }
            // Decoding a header preserves ASCII only.
            guard id?.utf8.allSatisfy({ (0x20..<0x7F).contains($0) }) ?? true else {
                throw QueueDTOs.FormError(message: "an Idempotency-Key is printable ASCII")
            }
            receipts = [try await member.producer.send(OutgoingMessage(request.body, priority: priority, id: id))]
        }
        return try Self.json(.created, QueueDTOs.Sent(receipts))
    }

    private func peek(_ queue: MessageQueue) async throws -> GatewayResponse {
        let messages = try await queue.peek(limit: number("limit", 1...Self.mostShown, 20))
        return try Self.json(.ok, QueueDTOs.Browsed(messages: messages.map { .init($0) }))
    }

    /// All of these messages are in memory at once, and each can have half a megabyte.
    private static let mostShown = 100

    private func counts(_ queue: MessageQueue) async throws -> GatewayResponse {
        guard ["true", "false", nil].contains(request.query["age"]) else {
            throw QueueDTOs.FormError(message: "age is true or false")
        }
        let (statistics, capacity) = (try await queue.statistics(), try await queue.attributes().capacity)
        // The gateway may lack the permission to list the items, or the list may be too long to read in time. The
        // response contains the other counts in either case.
        let age = request.flag("age") ? try? await queue.oldestMessageAge() : nil
        return try Self.json(.ok, QueueDTOs.Counts(statistics, capacity, oldestMessageAge: age))
    }

    private func dead(_ queue: MessageQueue) async throws -> GatewayResponse {
        let letters = try await queue.deadLetters(limit: number("limit", 1...Self.mostShown, 20))
        return try Self.json(.ok, QueueDTOs.Dead(messages: letters.map { .init(letter: $0) }))
    }

    // MARK: Leases

    private static let longestWait = 60
    private static let longestLease = 43_200

    private func take(_ queue: MessageQueue) async throws -> GatewayResponse {
        let count = try number("count", 1...100, 1)
        let wait = try number("wait", 0...Self.longestWait, 0)
        let seconds = try number("seconds", 1...Self.longestLease, 30)
        // Reports a missing queue at once instead of waiting for it. While clients receive messages from the queue, no
        // check is needed: the consumer itself reports that the queue is missing.
        if await endpoint.queues.leases(path)?.isTaking != true { _ = try await queue.attributes() }
        let member = try await member()
        guard
            let taken = try await member.leases.take(count, wait: .seconds(wait), for: .seconds(seconds))
        else {
            return .problem(.tooManyRequests, "overloaded", "Too many messages are leased or asked for already.")
        }
        let octets = MediaType(accepting: request.headers, standard: .json) == .octets
        if octets, count == 1 {
            guard let (id, message) = taken.first else { return GatewayResponse(.noContent, .octets) }
            var answer = GatewayResponse(.ok, .octets, bytes: message.payload)
            for (name, value) in [
                ("Lease", id), ("Fencing-Token", "\(message.fencingToken)"), ("Message-Name", message.nodeName),
                ("Delivery-Count", "\(message.deliveryCount)"), ("Priority", "\(message.priority)"),
            ] {
                if let name = HTTPField.Name("X-Queue-\(name)") { answer.headers[name] = value }
            }
            return answer
        }
        let leases = taken.map { QueueDTOs.Lease(lease: $0.id, message: $0.message, seconds: seconds) }
        return try Self.json(.ok, QueueDTOs.Leases(leases: leases))
    }

    private func settle(_ id: String, _ action: QueueRoute.LeaseAction) async throws -> GatewayResponse {
        guard let leases = await endpoint.queues.leases(path), let message = await leases.lease(id),
            request.query["token"] == "\(message.fencingToken)"
        else {
            return .problem(
                .notFound, "leaseLost", "There is no lease of this id and fencing token: it has ended, or never was.")
        }
        switch action {
        case .extend:
            let seconds = try number("seconds", 1...Self.longestLease, 30)
            if message.leaseState == .suspended {
                return .problem(.serviceUnavailable, "unreachable", "The lease is in doubt: no server answers.")
            }
            guard message.leaseState == .held, await leases.extend(id, by: .seconds(seconds)) else {
                return .problem(.conflict, "leaseLost", "The lease is lost.")
            }
            return try Self.json(.ok, QueueDTOs.Extended(seconds: seconds))
        case .acknowledge: try await settling(leases, id, message) { try await message.acknowledge() }
        case .requeue:
            try await settling(leases, id, message) { try await message.requeue(reason: request.query["reason"]) }
        case .deadLetter:
            try await settling(leases, id, message) {
                try await message.deadLetter(reason: request.query["reason"] ?? "given up over HTTP")
            }
        }
        return GatewayResponse(.noContent)
    }

    /// Runs `body`, and removes the lease once it has certainly ended.
    private func settling(
        _ leases: HTTPLeases, _ id: String, _ message: QueueMessage, _ body: () async throws -> Void
    ) async throws {
        do {
            try await body()
        } catch {
            if [.lost, .settled].contains(message.leaseState) { await leases.forget(id) }
            throw error
        }
        await leases.forget(id)
    }

    // MARK: Parts

    private func number(_ name: ExactString, _ range: ClosedRange<Int>, _ standard: Int) throws -> Int {
        guard let text = request.query[name] else { return standard }
        guard let number = Int(text), range.contains(number) else {
            throw QueueDTOs.FormError(
                message: "\(name.string) is a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
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
        case .timedOut, .closed: .serviceUnavailable
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
