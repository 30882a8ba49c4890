import Testing

@testable import ZooKeeperQueue

struct ItemNameTests {
    @Test(
        "A name contains a priority, a sequence number and a redelivery count",
        arguments: [
            ("item-100-0000000042", 100, 42, 0), ("item-000-0000000000", 0, 0, 0),
            ("item-999-2147483647", 999, 2_147_483_647, 0),
            ("item-100-0000000042.2", 100, 42, 2), ("item-100-0000000042.17", 100, 42, 17),
            ("item-100--2147483648", 100, -2_147_483_648, 0), ("item-100--000000005", 100, -5, 0),
        ])
    func parsesNames(name: String, priority: Int, sequence: Int32, returns: Int) throws {
        let item = try #require(ItemName(name))
        #expect(item.priority == priority && item.sequence == sequence && item.redeliveries == returns)
        #expect(item.string == name && item.with(redeliveries: returns).string == name)
    }

    @Test(
        "A name can contain the index of a message in its node",
        arguments: [
            ("item-100-0000000042-007", 7), ("item-100-0000000042-999.3", 999), ("item-100--000000005-000", 0),
        ])
    func parsesIndexes(name: String, index: Int) throws {
        let item = try #require(ItemName(name))
        #expect(item.index == index && item.string == name)
        let node = try #require(ItemName(name.replacing(/-\d\d\d(?=\.|$)/, with: "")))
        #expect(node.index == nil && node.message(index) == item && node < item)
    }

    @Test(
        "A name can contain an epoch",
        arguments: [
            ("item-100-e1-0000000042", 1, "item-100-0000000042"),
            ("item-100-e4294967295-5.2", 4_294_967_295, "item-100-5.2"),
            ("item-007-e12--000000005-003.9", 12, "item-007--000000005-003.9"),
        ])
    func parsesEpochs(name: String, epoch: UInt32, untagged: String) throws {
        let item = try #require(ItemName(name))
        #expect(item.epoch == epoch && item.string == name && item.untagged == untagged)
        #expect(ItemName(untagged, inEpoch: epoch) == item)
        #expect(ItemName(name, inEpoch: epoch) == nil)
        #expect(item.with(redeliveries: 4).string.hasSuffix(".4") && item.with(redeliveries: 4).epoch == epoch)
    }

    @Test("The sequence number may have more or fewer digits")
    func otherDigits() throws {
        for name in ["item-100-5", "item-100-00000000", "item-100-5.3", "item-100--0", "item-100--0000000005"] {
            let item = try #require(ItemName(name))
            #expect(item.string == name)
        }
    }

    @Test(
        "Any other name is not an item",
        arguments: [
            "item-100-0000000042-", "item-100-0000000042-07", "item-100-0000000042-0007", "item-100-0000000042-00x",
            "item-100-0000000042-007-001", "item-100--", "item-100---5", "item-100--000000005-",
            "", "item-", "item-100", "item-100-", "item-1-0000000001", "item-abc-0000000001", "item-100-x",
            "item-100-1.",
            "item-100-1.0", "item-100-1.x", "item-100-1.-1", "item-100-99999999999", "item-100-2147483648",
            "Item-100-1",
            "item-100-e0-0000000001", "item-100-e01-0000000001", "item-100-e-0000000001",
            "item-100-e4294967296-0000000001",
            "item-100-e1", "item-100-e1-", "item-100-e1-e2-0000000001", "item--10-0000000001", "something",
            "item-100-0000000001.2.3", "item-100-١٢٣",
        ])
    func otherNames(name: String) { #expect(ItemName(name) == nil) }

    @Test("Names sort by priority, epoch and sequence number")
    func order() throws {
        let names = [
            "item-005-0000000009", "item-005-e3-0000000001", "item-100--000000007", "item-100-0000000002.3",
            "item-100-0000000010", "item-100-e2-0000000001", "item-100-e10-0000000000", "item-101-0000000000",
        ]
        #expect(names.reversed().compactMap(ItemName.init).sorted().map(\.string) == names)
    }

    @Test("A new redelivery count replaces the old one")
    func newCount() throws {
        let item = try #require(ItemName("item-100-0000000042.9"))
        #expect(item.with(redeliveries: 10).string == "item-100-0000000042.10")
        #expect(item.with(redeliveries: 0).string == "item-100-0000000042")
        #expect(ItemName.prefix(priority: 7) == "item-007-")
    }
}
