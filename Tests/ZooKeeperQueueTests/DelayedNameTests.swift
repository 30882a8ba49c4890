import Testing

@testable import ZooKeeperQueue

/// The names of delayed messages, and their slots.
struct DelayedNameTests {
    @Test(
        "Paths of delayed messages match the documented test vectors",
        arguments: [
            (1_766_599_200_123, "item-100-0000000000", "20446/29443320/1766599200123-item-100-0000000000"),
            (1_766_599_200_123, "item-005-0000000001", "20446/29443320/1766599200123-item-005-0000000001"),
            (1_766_599_200_123, "item-100-0000000042.1", "20446/29443320/1766599200123-item-100-0000000042.1"),
            (
                1_766_599_200_123, "item-100-e3-0000000042-007.2",
                "20446/29443320/1766599200123-item-100-e3-0000000042-007.2"
            ),
            (1_766_599_199_999, "item-100-0000000000", "20446/29443319/1766599199999-item-100-0000000000"),
            (1_766_620_799_999, "item-100-0000000000", "20446/29443679/1766620799999-item-100-0000000000"),
            (1_766_620_800_000, "item-100-0000000000", "20447/29443680/1766620800000-item-100-0000000000"),
            (59_999, "item-100-0000000000", "0/0/0000000059999-item-100-0000000000"),
            (9_999_999_999_999, "item-100-0000000000", "115740/166666666/9999999999999-item-100-0000000000"),
        ])
    func testVectors(due: Int64, item: String, path: String) throws {
        let due = EnsembleTime(millisecondsSince1970: due)
        #expect(QueueTree(root: "/queue").delayed(item, due: due) == "/queue/delayed/\(path)")
        let name = try #require(DelayedName(String(path.split(separator: "/")[2])))
        #expect(name.due == due && name.item.string == item)
        #expect(name.wasSent == !item.contains("."))
    }

    @Test("Delayed messages sort as documented: by due time, requeued ones first, and by sequence number")
    func order() {
        let names = [
            "1766599200122-item-100-0000000009", "1766599200123-item-999-0000000003.1",
            "1766599200123-item-100-0000000042.1", "1766599200123-item-100-0000000000",
            "1766599200123-item-005-0000000001", "1766599200124-item-000-0000000000",
        ]
        #expect(names.reversed().compactMap { DelayedName($0) }.sorted().map(\.string) == names)
    }

    @Test(
        "Any other name is not that of a delayed message",
        arguments: [
            "", "item-100-0000000000", "1766599200123", "1766599200123-", "176659920012-item-100-0000000000",
            "17665992001234-item-100-0000000000", "-766599200123-item-100-0000000000",
            "1766599200123-item-100-0000000000.0", "1766599200123-something", "١٧٦٦٥٩٩٢٠٠١٢٣-item-100-0000000000",
        ])
    func otherNames(name: String) { #expect(DelayedName(name) == nil) }
}
