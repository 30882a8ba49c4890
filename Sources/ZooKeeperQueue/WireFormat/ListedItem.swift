/// A ready message's name, and which of the two lists it stands in.
struct ListedItem: Sendable, Hashable, Comparable {
    let name: ItemName
    /// Whether it stands in `earlier`, and not in `items`.
    let isEarlier: Bool

    func path(in tree: QueueTree) -> String {
        isEarlier ? tree.earlier(name.string) : tree.item(name.untagged)
    }

    static func < (a: ListedItem, b: ListedItem) -> Bool { a.name < b.name }
}
