#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Encodes jobs as JSON. Keys are sorted, so equal jobs have equal payloads. Dates are ISO 8601 in UTC, with
/// milliseconds.
public struct JSONJobCoder: JobCoder {
    /// Creates a coder.
    public init() {}

    /// `application/json`.
    public var contentType: String { "application/json" }

    private static let dates = Date.ISO8601FormatStyle(includingFractionalSeconds: true)

    /// Encodes a job as a JSON text.
    public func encode(_ job: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(date.formatted(Self.dates))
        }
        return [UInt8](try encoder.encode(job))
    }

    /// Decodes a JSON text. A date can have a fraction of a second or none.
    public func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .custom { decoder in
            let container = try decoder.singleValueContainer()
            let text = try container.decode(String.self)
            if let date = (try? Self.dates.parse(text)) ?? (try? Date.ISO8601FormatStyle().parse(text)) { return date }
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "It is not an ISO 8601 date.")
        }
        return try decoder.decode(type, from: Data(bytes))
    }
}
