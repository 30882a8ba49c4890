/// What a gateway answers to `GET /extensions/v1`: what it offers beyond ZooKeeper's REST interface. One that knows none of it,
/// such as ZooKeeper's own, answers that there is no such resource.
package struct Announcement: Codable, Sendable, Hashable {
    /// Operations that are applied altogether or not at all.
    package static let transactions = "transactions"
    /// Reads that are answered when something has changed.
    package static let watches = "watches"

    /// The names of what is offered.
    package var extensions: [String]
    /// The most bytes of data in one request, however long they are in base64.
    package var maximumBodySize: Int

    package init(extensions: [String] = [transactions, watches], maximumBodySize: Int) {
        self.extensions = extensions
        self.maximumBodySize = maximumBodySize
    }

    /// Whether it is all that the queue's full guarantee needs.
    package var isComplete: Bool { Set([Self.transactions, Self.watches]).isSubset(of: extensions) }
}
