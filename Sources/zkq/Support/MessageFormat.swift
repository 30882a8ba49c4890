import ArgumentParser
import ZooKeeperQueue

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The format in which messages are printed.
enum MessageFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    case text, json
}

/// A message as a line of JSON.
struct MessageLine: Encodable {
    let name: String
    /// The ID with which the message was sent, if any.
    let id: String?
    /// The key of the message's group, if any.
    let group: String?
    var priority: Int?
    var deliveryCount: Int?
    var fencingToken: Int64?
    let headers: [String: String]
    /// The payload when it is UTF-8; otherwise `payloadBase64` has it.
    let payload: String?
    let payloadBase64: String?
    var cause: String?
    /// Where the message is, with the consumer that holds it and since when, in milliseconds since 1970.
    var place: String?
    var consumer: String?
    var since: Int64?
    var redeliveries: Int?
    /// When a delayed message is due, in milliseconds since 1970.
    var dueAt: Int64?
    /// When the message expires, in milliseconds since 1970; `nil` when it does not.
    let expiresAt: Int64?
    /// The last failed deliveries, the oldest first; `nil` when there is none.
    let failures: [Failure]?

    struct Failure: Encodable {
        let reason: String
        let consumer: String
        /// Milliseconds since 1970.
        let failedAt: Int64
    }

    init(
        name: String, id: String?, group: String?, headers: [String: String], payload: [UInt8],
        failures: [DeliveryFailure],
        expiresAt: EnsembleTime?
    ) {
        self.failures =
            failures.isEmpty
            ? nil
            : failures.map {
                Failure(reason: $0.reason, consumer: $0.consumer, failedAt: $0.failedAt.millisecondsSince1970)
            }
        self.expiresAt = expiresAt?.millisecondsSince1970
        self.name = name
        self.id = id
        self.group = group
        self.headers = headers
        self.payload = String(validating: payload, as: UTF8.self)
        payloadBase64 = self.payload == nil ? Data(payload).base64EncodedString() : nil
    }

    init(_ message: QueueMessage) {
        self.init(
            name: message.nodeName, id: message.id, group: message.group, headers: message.headers,
            payload: message.payload, failures: message.failures, expiresAt: message.expiresAt)
        priority = message.priority
        deliveryCount = message.deliveryCount
        fencingToken = message.fencingToken
    }

    init(_ message: PeekedMessage) {
        self.init(
            name: message.nodeName, id: message.id, group: message.group, headers: message.headers,
            payload: message.payload, failures: message.failures, expiresAt: message.expiresAt)
        priority = message.priority
        deliveryCount = message.deliveryCount
    }

    init(_ message: DelayedMessage) {
        self.init(
            name: message.nodeName, id: message.id, group: message.group, headers: message.headers,
            payload: message.payload, failures: message.failures, expiresAt: message.expiresAt)
        priority = message.priority
        deliveryCount = message.deliveryCount
        dueAt = message.dueAt.millisecondsSince1970
    }

    init(_ letter: DeadLetter) {
        self.init(
            name: letter.nodeName, id: letter.id, group: letter.group, headers: letter.headers,
            payload: letter.payload, failures: letter.failures, expiresAt: letter.expiresAt)
        cause = letter.reason
    }

    init(_ message: MessageStatus) {
        self.init(
            name: message.nodeName, id: message.id, group: message.group, headers: message.headers,
            payload: message.payload, failures: message.failures, expiresAt: message.expiresAt)
        priority = message.priority
        redeliveries = message.redeliveries
        switch message.place {
        case .ready: place = "ready"
        case .delayed(let due): (place, dueAt) = ("delayed", due.millisecondsSince1970)
        case .leased(let holder, let time): (place, consumer, since) = ("leased", holder, time.millisecondsSince1970)
        case .recovering: place = "partial"
        case .waiting: place = "waiting"
        case .deadLettered(let reason, let time): (place, cause, since) = ("dead", reason, time.millisecondsSince1970)
        }
    }

    func json() throws -> [UInt8] { try JSON.line(self) }
}

enum JSON {
    /// Returns a value as JSON on one line, with sorted keys.
    static func line(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }
}
