/// The settings that every process must agree on, as stored in the tree: lines of the form `name=value` in UTF-8. Names
/// that this library does not know are kept.
struct QueueAttributes: Sendable, Hashable {
    private var values: [String: String] = [:]

    init() {}

    init(_ data: [UInt8]?) {
        for line in String(decoding: data ?? [], as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
    }

    func encoded() -> [UInt8] {
        Array(values.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)\n" }.joined().utf8)
    }

    /// The most messages in one node; 1 when the setting is missing or invalid.
    var messagesPerNode: Int {
        get {
            let value = values["messages-per-node"].flatMap { Int($0) } ?? 1
            return QueueSettings.messagesPerNodeRange.contains(value) ? value : 1
        }
        set { values["messages-per-node"] = String(newValue) }
    }

    /// How often a message is delivered at most; `nil` when the setting is missing or invalid.
    var maximumDeliveries: Int? {
        get { values["maximum-deliveries"].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil } }
        set { values["maximum-deliveries"] = newValue.map { "\($0)" } }
    }

    /// How long a recovery holds back the message of a failed consumer; `nil` when the setting is missing or invalid.
    var redeliveryDelay: Duration? {
        get { milliseconds("redelivery-delay-milliseconds").flatMap { $0 >= .zero ? $0 : nil } }
        set { values["redelivery-delay-milliseconds"] = newValue.map { "\(Int64($0 / .milliseconds(1)))" } }
    }

    private func milliseconds(_ name: String) -> Duration? {
        values[name].flatMap { Int64($0) }.map { .milliseconds($0) }
    }

    /// The deduplication window; `nil` when the setting is missing or invalid.
    var deduplicationWindow: Duration? {
        get { milliseconds("id-retention-milliseconds").flatMap { $0 > .zero ? $0 : nil } }
        set { values["id-retention-milliseconds"] = newValue.map { "\(max(1, Int64($0 / .milliseconds(1))))" } }
    }

    /// The queue's capacity. An invalid value means no limit.
    var bound: QueueBound {
        get {
            func bound(_ name: String) -> Int? { values[name].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil } }
            return QueueBound(messages: bound("maximum-messages"), bytes: bound("maximum-bytes"))
        }
        set {
            values["maximum-messages"] = newValue.messages.map { String($0) }
            values["maximum-bytes"] = newValue.bytes.map { String($0) }
        }
    }
}
