/// Encodes jobs to payloads, and decodes them.
public protocol JobCoder: Sendable {
    /// The media type of the payloads. A worker requeues a job with another one.
    var contentType: String { get }
    /// Encodes a job.
    func encode(_ job: some Encodable) throws -> [UInt8]
    /// Decodes a job.
    func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value
}
