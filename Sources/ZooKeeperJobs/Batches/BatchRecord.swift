import ZooKeeperQueue

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The data of a batch's node, as JSON: when the batch is forgotten, and the message that is stored at its end.
struct BatchRecord: Codable, Sendable {
    let expires: Int64
    let payload: Data
    let headers: [String: String]
    let priority: Int
    let group: String?
    let expiresAfter: Int64?

    init(expiresAt: EnsembleTime, _ message: OutgoingMessage) {
        expires = expiresAt.millisecondsSince1970
        payload = Data(message.payload)
        headers = message.headers
        priority = message.priority
        group = message.group
        expiresAfter = message.expiresAfter.map { max(1, Int64($0 / .milliseconds(1))) }
    }

    /// Reads the data. `nil` for data of another form.
    init?(_ data: [UInt8]?) {
        guard let record = try? JSONDecoder().decode(BatchRecord.self, from: Data(data ?? [])) else { return nil }
        self = record
    }

    func encoded() throws -> [UInt8] { [UInt8](try JSONEncoder().encode(self)) }

    var expiresAt: EnsembleTime { EnsembleTime(millisecondsSince1970: expires) }
    var message: OutgoingMessage {
        OutgoingMessage(
            [UInt8](payload), priority: priority, headers: headers,
            expiresAfter: expiresAfter.map { .milliseconds($0) }, group: group)
    }
}

/// The data of a counter: a decimal number.
enum BatchCount {
    static func encode(_ count: Int) -> [UInt8] { Array("\(count)".utf8) }

    /// Reads a counter. `nil` for other data, and for a number that no batch can have.
    static func decode(_ data: [UInt8]?) -> Int? {
        guard let data, let count = Int(String(decoding: data.prefix(12), as: UTF8.self)), count > 0 else { return nil }
        return count
    }
}
