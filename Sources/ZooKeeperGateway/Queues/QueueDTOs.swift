import GatewayProtocol
import ZooKeeperQueue

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The JSON bodies of requests and responses. A payload that is UTF-8 is the string `payload`. Any other payload is
/// `payloadBase64`.
enum QueueDTOs {
    struct Send: Decodable {
        struct Message: Decodable {
            var payload: String?
            var payloadBase64: String?
            var priority: Int?
            var headers: [String: String]?
            var id: String?
            var group: String?
            var delayMilliseconds: Int64?
            var deliverAt: Int64?
            var expiresAfterMilliseconds: Int64?
            var expiresAt: Int64?

            /// Returns the message to send.
            ///
            /// - Throws: ``InvalidRequest`` that says what is wrong.
            func outgoing() throws(InvalidRequest) -> OutgoingMessage {
                let bytes: [UInt8]
                switch (payload, payloadBase64) {
                case (let text?, nil): bytes = Array(text.utf8)
                case (nil, let text?):
                    guard let data = Data(base64Encoded: text) else {
                        throw InvalidRequest(message: "The field payloadBase64 is not valid base64.")
                    }
                    bytes = Array(data)
                default: throw InvalidRequest(message: "A message must have either payload or payloadBase64.")
                }
                return OutgoingMessage(
                    bytes, priority: priority ?? 100, headers: headers ?? [:], id: id,
                    delay: .milliseconds(delayMilliseconds ?? 0),
                    deliverAt: deliverAt.map { EnsembleTime(millisecondsSince1970: $0) },
                    expiresAfter: expiresAfterMilliseconds.map { .milliseconds($0) },
                    expiresAt: expiresAt.map { EnsembleTime(millisecondsSince1970: $0) }, group: group)
            }
        }
        var messages: [Message]

        private static let names: Set = [
            "payload", "payloadBase64", "priority", "headers", "id", "group", "delayMilliseconds", "deliverAt",
            "expiresAfterMilliseconds", "expiresAt",
        ]

        /// Reads the body of a request.
        ///
        /// - Throws: ``InvalidRequest`` that says what is wrong. An unknown name is refused, because it may be a
        ///   misspelt one.
        init(reading body: [UInt8]) throws(InvalidRequest) {
            let data = Data(body)
            do {
                self = try JSONDecoder().decode(Send.self, from: data)
            } catch {
                throw InvalidRequest(
                    message:
                        "The body is not JSON of the form {\"messages\": [{\"payload\": \"…\"}]}, or a field has the "
                        + "wrong type.")
            }
            struct Fields: Decodable { let messages: [JSONNames] }
            guard let fields = try? JSONDecoder().decode(JSONNames.self, from: data), fields.names == ["messages"],
                let messages = try? JSONDecoder().decode(Fields.self, from: data).messages,
                messages.allSatisfy({ $0.names.isSubset(of: Self.names) })
            else {
                throw InvalidRequest(
                    message:
                        "The body has an unknown field. Send only messages, each with payload or payloadBase64, and "
                        + "optionally with priority, headers, id, group, delayMilliseconds or deliverAt, and "
                        + "expiresAfterMilliseconds or expiresAt.")
            }
        }
    }

    struct InvalidRequest: Error {
        let message: String
    }

    struct Sent: Encodable {
        struct Message: Encodable {
            let name: String?
            let duplicate: Bool
        }
        let messages: [Message]

        init(_ receipts: [SendReceipt]) {
            messages = receipts.map { Message(name: $0.nodeName, duplicate: $0.isDuplicate) }
        }
    }

    struct Payload: Encodable {
        private enum Key: String, CodingKey { case payload, payloadBase64 }
        let bytes: [UInt8]

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            if let text = String(validating: bytes, as: UTF8.self) {
                try container.encode(text, forKey: .payload)
            } else {
                try container.encode(Data(bytes).base64EncodedString(), forKey: .payloadBase64)
            }
        }
    }

    /// The failed deliveries of a message; nothing when there is none.
    struct Failures: Encodable {
        private enum Key: String, CodingKey { case failures }
        private struct Failure: Encodable {
            let reason, consumer: String
            let time: Int64
        }
        let failures: [DeliveryFailure]

        func encode(to encoder: any Encoder) throws {
            if failures.isEmpty { return }
            var container = encoder.container(keyedBy: Key.self)
            let encoded = failures.map {
                Failure(reason: $0.reason, consumer: $0.consumer, time: $0.failedAt.millisecondsSince1970)
            }
            try container.encode(encoded, forKey: .failures)
        }
    }

    /// A ready or leased message.
    struct Message: Encodable {
        private enum Key: String, CodingKey {
            case name, priority, deliveryCount, enqueueTime, expiresAt, headers, id, group
        }
        let name: String
        let priority, deliveryCount: Int
        let enqueueTime: Int64
        let expiresAt: Int64?
        let headers: [String: String]
        let id, group: String?
        let payload: [UInt8]
        let failures: [DeliveryFailure]

        init(_ message: QueueMessage) {
            (name, priority, deliveryCount) = (message.nodeName, message.priority, message.deliveryCount)
            (enqueueTime, headers, id) = (message.enqueuedAt.millisecondsSince1970, message.headers, message.id)
            (payload, failures) = (message.payload, message.failures)
            (expiresAt, group) = (message.expiresAt?.millisecondsSince1970, message.group)
        }

        init(_ message: PeekedMessage) {
            (name, priority, deliveryCount) = (message.nodeName, message.priority, message.deliveryCount)
            (enqueueTime, headers, id) = (message.enqueuedAt.millisecondsSince1970, message.headers, message.id)
            (payload, failures) = (message.payload, message.failures)
            (expiresAt, group) = (message.expiresAt?.millisecondsSince1970, message.group)
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            try container.encode(name, forKey: .name)
            try container.encode(priority, forKey: .priority)
            try container.encode(deliveryCount, forKey: .deliveryCount)
            try container.encode(enqueueTime, forKey: .enqueueTime)
            try container.encodeIfPresent(expiresAt, forKey: .expiresAt)
            try container.encode(headers, forKey: .headers)
            try container.encodeIfPresent(id, forKey: .id)
            try container.encodeIfPresent(group, forKey: .group)
            try Payload(bytes: payload).encode(to: encoder)
            try Failures(failures: failures).encode(to: encoder)
        }
    }

    struct Leases: Encodable { let leases: [Lease] }

    struct Lease: Encodable {
        private enum Key: String, CodingKey { case lease, token, seconds }
        let lease: String
        let message: QueueMessage
        let seconds: Int

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            try container.encode(lease, forKey: .lease)
            // A string, because JavaScript cannot hold every 64-bit integer.
            try container.encode("\(message.fencingToken)", forKey: .token)
            try container.encode(seconds, forKey: .seconds)
            try Message(message).encode(to: encoder)
        }
    }

    struct Extended: Encodable { let seconds: Int }

    struct Counts: Encodable {
        let ready, leased, partial, dead, consumers, created: Int
        let bytes: Int?
        let oldestAgeSeconds: Double?
        let maximumMessages, maximumBytes: Int?
        let delayed, retrying, groups: Int
        let nextDueTime: Int64?
        let paused: [String]

        init(_ statistics: QueueStatistics, _ capacity: QueueCapacity, oldestMessageAge: Duration?) {
            created = statistics.totalEnqueued
            oldestAgeSeconds = oldestMessageAge.map { $0 / .milliseconds(1) / 1_000 }
            (ready, leased, partial) = (statistics.ready, statistics.leased, statistics.recovering)
            (dead, consumers, bytes) = (statistics.deadLettered, statistics.consumers, statistics.bytes)
            (maximumMessages, maximumBytes) = (capacity.messages, capacity.bytes)
            (delayed, retrying, groups) = (statistics.delayed, statistics.retrying, statistics.groups)
            nextDueTime = statistics.nextDueAt?.millisecondsSince1970
            paused = Paused(statistics.paused).paused
        }
    }

    struct Activities: Decodable {
        private let activities: [String]?

        /// Reads the body of a request. A request without activities means all of them.
        ///
        /// - Throws: ``InvalidRequest`` that says what is wrong.
        static func reading(_ body: [UInt8]) throws(InvalidRequest) -> Set<QueueAttributes.Activity> {
            if body.isEmpty { return Set(QueueAttributes.Activity.allCases) }
            let data = Data(body)
            guard let names = try? JSONDecoder().decode(JSONNames.self, from: data).names,
                names.isSubset(of: ["activities"]), let fields = try? JSONDecoder().decode(Activities.self, from: data)
            else {
                throw InvalidRequest(
                    message: "The body is not JSON of the form {\"activities\": [\"send\", \"consume\"]}.")
            }
            let texts = fields.activities ?? QueueAttributes.Activity.allCases.map(\.rawValue)
            let activities = texts.compactMap(QueueAttributes.Activity.init)
            guard activities.count == texts.count else {
                throw InvalidRequest(message: "The body has an unknown activity. The activities are send and consume.")
            }
            return Set(activities)
        }
    }

    struct Paused: Encodable {
        let paused: [String]

        init(_ activities: Set<QueueAttributes.Activity>) { paused = activities.map(\.rawValue).sorted() }
    }

    struct Peeked: Encodable { let messages: [Message] }

    struct DeadLetters: Encodable {
        struct Message: Encodable {
            private enum Key: String, CodingKey { case name, cause, time, expiresAt, headers, id, group }
            let letter: DeadLetter

            func encode(to encoder: any Encoder) throws {
                var container = encoder.container(keyedBy: Key.self)
                try container.encode(letter.nodeName, forKey: .name)
                try container.encode(letter.reason, forKey: .cause)
                try container.encode(letter.deadLetteredAt.millisecondsSince1970, forKey: .time)
                try container.encodeIfPresent(letter.expiresAt?.millisecondsSince1970, forKey: .expiresAt)
                try container.encode(letter.headers, forKey: .headers)
                try container.encodeIfPresent(letter.id, forKey: .id)
                try container.encodeIfPresent(letter.group, forKey: .group)
                try Payload(bytes: letter.payload).encode(to: encoder)
                try Failures(failures: letter.failures).encode(to: encoder)
            }
        }
        let messages: [Message]
    }

    struct DelayedMessages: Encodable {
        struct Message: Encodable {
            private enum Key: String, CodingKey {
                case name, dueTime, expiresAt, priority, deliveryCount, headers, id, group
            }
            let message: DelayedMessage

            func encode(to encoder: any Encoder) throws {
                var container = encoder.container(keyedBy: Key.self)
                try container.encode(message.nodeName, forKey: .name)
                try container.encode(message.dueAt.millisecondsSince1970, forKey: .dueTime)
                try container.encodeIfPresent(message.expiresAt?.millisecondsSince1970, forKey: .expiresAt)
                try container.encode(message.priority, forKey: .priority)
                try container.encode(message.deliveryCount, forKey: .deliveryCount)
                try container.encode(message.headers, forKey: .headers)
                try container.encodeIfPresent(message.id, forKey: .id)
                try container.encodeIfPresent(message.group, forKey: .group)
                try Payload(bytes: message.payload).encode(to: encoder)
                try Failures(failures: message.failures).encode(to: encoder)
            }
        }
        let messages: [Message]
    }

    /// A message, wherever it is.
    struct Status: Encodable {
        private enum Key: String, CodingKey {
            case name, place, dueTime, consumer, claimTime, cause, time, priority, redeliveries, expiresAt, headers, id
            case group
        }
        let status: MessageStatus

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            try container.encode(status.nodeName, forKey: .name)
            // The names of the places are those of the counts.
            switch status.place {
            case .ready: try container.encode("ready", forKey: .place)
            case .delayed(let due):
                try container.encode("delayed", forKey: .place)
                try container.encode(due.millisecondsSince1970, forKey: .dueTime)
            case .leased(let consumer, let since):
                try container.encode("leased", forKey: .place)
                try container.encode(consumer, forKey: .consumer)
                try container.encode(since.millisecondsSince1970, forKey: .claimTime)
            case .recovering: try container.encode("partial", forKey: .place)
            case .waiting: try container.encode("waiting", forKey: .place)
            case .deadLettered(let reason, let time):
                try container.encode("dead", forKey: .place)
                try container.encode(reason, forKey: .cause)
                try container.encode(time.millisecondsSince1970, forKey: .time)
            }
            try container.encode(status.priority, forKey: .priority)
            try container.encode(status.redeliveries, forKey: .redeliveries)
            try container.encodeIfPresent(status.expiresAt?.millisecondsSince1970, forKey: .expiresAt)
            try container.encode(status.headers, forKey: .headers)
            try container.encodeIfPresent(status.id, forKey: .id)
            try container.encodeIfPresent(status.group, forKey: .group)
            try Payload(bytes: status.payload).encode(to: encoder)
            try Failures(failures: status.failures).encode(to: encoder)
        }
    }

    struct Consumers: Encodable {
        struct Lease: Encodable {
            let name: String
            let claimTime: Int64
        }

        struct Consumer: Encodable {
            let name: String
            let alive: Bool
            let registrationTime: Int64
            let leases: [Lease]

            init(_ consumer: ConsumerInfo) {
                (name, alive) = (consumer.name, consumer.isAlive)
                registrationTime = consumer.registeredAt.millisecondsSince1970
                leases = consumer.leases.map {
                    Lease(name: $0.nodeName, claimTime: $0.claimedAt.millisecondsSince1970)
                }
            }
        }
        let consumers: [Consumer]
    }

    struct Queues: Encodable { let queues: [String] }

    struct Count: Encodable { let count: Int }
}
