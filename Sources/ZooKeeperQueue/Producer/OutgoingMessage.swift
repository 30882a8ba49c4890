/// A message to be sent.
public struct OutgoingMessage: Sendable, Hashable {
    /// The bytes to deliver. They may be empty.
    public var payload: [UInt8]
    /// 0…999; a lower number is served first. Default: 100.
    public var priority: Int
    /// Names and values that travel with the payload. A message with headers is stored in an envelope, which foreign
    /// clients see.
    public var headers: [String: String]
    /// A name for the message, of 1 to 255 bytes of UTF-8: of all sends with the same id, by any producer and any process, one is
    /// stored, as long as the id is remembered (``QueueSettings/idRetention``). It travels with the payload, in an envelope.
    ///
    /// So a process that does not know whether it sent a message before it was killed sends it again. Each costs the ensemble a
    /// further node for that time.
    public var id: String?

    /// Creates a message of bytes.
    public init(_ payload: [UInt8], priority: Int = 100, headers: [String: String] = [:], id: String? = nil) {
        self.id = id
        self.payload = payload
        self.priority = priority
        self.headers = headers
    }

    /// Creates a message of a text's UTF-8 bytes.
    public init(_ text: String, priority: Int = 100, headers: [String: String] = [:], id: String? = nil) {
        self.init(Array(text.utf8), priority: priority, headers: headers, id: id)
    }
}

/// What is known of a message that was stored.
public struct SendReceipt: Sendable, Hashable {
    /// The name of the message's node below `items`; `nil` when the message is stored but the answer with its name was
    /// lost, and for a duplicate.
    public let name: String?
    /// Whether a message of the same ``OutgoingMessage/id`` had been stored before, so that this one was not.
    public var isDuplicate = false
}

/// Names a send of one producer, so that it can be repeated.
public struct SendID: Sendable, Hashable {
    let number: UInt64
}
