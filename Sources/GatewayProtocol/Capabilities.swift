/// A gateway's response to `GET /extensions/v1`: what it offers beyond ZooKeeper's REST interface. A gateway without
/// extensions, such as Apache's, answers 404.
package struct Capabilities: Codable, Sendable, Hashable {
    /// Multis, whose operations are applied together or not at all.
    package static let transactions = "transactions"
    /// Reads that are answered when something has changed.
    package static let watches = "watches"

    /// The names of the extensions.
    package var extensions: [String]
    /// The maximum number of bytes of data in one request. The length of their encoding in base64 does not count.
    package var maximumBodySize: Int

    package init(extensions: [String] = [transactions, watches], maximumBodySize: Int) {
        self.extensions = extensions
        self.maximumBodySize = maximumBodySize
    }

    /// Whether the extensions suffice for the queue's full guarantee.
    package var isComplete: Bool { Set([Self.transactions, Self.watches]).isSubset(of: extensions) }
}
