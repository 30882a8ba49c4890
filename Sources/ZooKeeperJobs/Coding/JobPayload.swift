/// The stored form of a job.
public struct JobPayload: Sendable {
    /// The ``Job/version`` of the program that stored the job.
    public let version: Int
    /// The encoded job.
    public let bytes: [UInt8]
    let coder: any JobCoder

    /// Decodes the payload, for example as the type that an earlier version used.
    public func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        try coder.decode(type, from: bytes)
    }
}
