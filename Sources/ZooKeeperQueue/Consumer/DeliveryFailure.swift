/// A delivery that ended with a failure.
public struct DeliveryFailure: Sendable, Hashable {
    /// What failed: the error of the handler, or the reason that was given for requeueing the message. It is cut after
    /// 500 bytes.
    public let reason: String
    /// The name of the consumer in the tree.
    public let consumer: String
    /// When the delivery failed.
    public let failedAt: EnsembleTime

    /// The most failures that a message keeps. Older ones are dropped.
    static let maximumCount = 10
    private static let maximumReason = 500

    init(reason: String, consumer: String, failedAt: EnsembleTime) {
        self.reason = String(reason.prefix(utf8Count: Self.maximumReason))
        self.consumer = consumer
        self.failedAt = failedAt
    }
}

// MARK: Wire format

extension DeliveryFailure {
    /// Decodes the field of an envelope: the time (8 bytes), the length of the consumer's name (2 bytes), the name and
    /// the reason, both in UTF-8. Returns `nil` when the bytes are no such field.
    init?(_ field: ArraySlice<UInt8>) {
        guard field.count >= 10 else { return nil }
        let time = Int64(bigEndian: field.prefix(8))
        let rest = field.dropFirst(10)
        let length = Int(UInt16(bigEndian: field.dropFirst(8).prefix(2)))
        guard length <= rest.count, let consumer = String(validating: rest.prefix(length), as: UTF8.self),
            let reason = String(validating: rest.dropFirst(length), as: UTF8.self)
        else { return nil }
        self.init(reason: reason, consumer: consumer, failedAt: EnsembleTime(millisecondsSince1970: time))
    }

    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(bigEndian: failedAt.millisecondsSince1970)
        let consumer = self.consumer.prefix(utf8Count: Int(UInt16.max))
        bytes.append(bigEndian: UInt16(consumer.utf8.count))
        return bytes + consumer.utf8 + reason.utf8
    }
}

extension String {
    /// Returns as much of the beginning as fits into this many bytes of UTF-8. Cuts between characters, because the
    /// text must stay valid UTF-8.
    func prefix(utf8Count count: Int) -> Substring {
        guard utf8.count > count else { return self[...] }
        var end = utf8.index(startIndex, offsetBy: Swift.max(0, count))
        while end > startIndex, end.samePosition(in: unicodeScalars) == nil { end = utf8.index(before: end) }
        return self[..<end]
    }
}
