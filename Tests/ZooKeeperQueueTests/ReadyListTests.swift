import Testing

@testable import ZooKeeperQueue

struct ReadyListTests {
    private let now = Duration.seconds(1_000)

    private func items(_ count: Int) -> [ListedItem] {
        (0..<count).compactMap { ItemName("item-100-\($0)").map { ListedItem(name: $0, isEarlier: false) } }
    }

    private func list(_ count: Int, rank: Int, of consumers: Int, prefetch: Int = 4, listings: Int = 1) -> [ListedItem]
    {
        var list = ReadyList()
        for _ in 0..<listings {
            list.refill(
                items(count).shuffled(), share: .init(rank: rank, consumers: consumers), prefetch: prefetch,
                listingTook: .zero, now: now)
        }
        return list.take(count)
    }

    @Test func aLoneConsumerGoesThroughAllInOrder() { #expect(list(10, rank: 0, of: 1) == items(10)) }

    @Test(arguments: [2, 3, 7]) func consumersSharesAreDisjointAndComplete(consumers: Int) {
        let shares = (0..<consumers).map { list(100, rank: $0, of: consumers) }
        #expect(Set(shares.joined()) == Set(items(100)) && shares.joined().count == 100)
        for share in shares { #expect(share == share.sorted()) }
    }

    @Test func withFewMessagesEverybodyTries() {
        #expect(list(1, rank: 0, of: 3) == items(1))
        #expect(list(1, rank: 2, of: 3) == items(1))
    }

    @Test func nowAndThenEachTakesAPartBeforeItsOwn() {
        for consumers in 2...5 {
            let parts = (0..<consumers).map { list(100, rank: $0, of: consumers).first }
            for rank in 0..<consumers {
                let seen = (1...4 * consumers).map { list(100, rank: rank, of: consumers, listings: $0).first }
                #expect(Set(seen) == Set(parts[...rank]) && seen.count { $0 == parts[rank] } > seen.count / 2)
            }
        }
    }

    @Test func anOldListIsForgotten() {
        var list = ReadyList()
        list.refill(items(3), share: .init(), prefetch: 4, listingTook: .zero, now: now)
        #expect(!list.isEmpty(now: now + .milliseconds(900)) && list.take(1).count == 1)
        #expect(list.isEmpty(now: now + .milliseconds(1_100)) && list.isStale(now: now + .milliseconds(1_100)))
        list.refill(items(3), share: .init(), prefetch: 4, listingTook: .milliseconds(500), now: now)
        #expect(!list.isStale(now: now + .seconds(9)))
        #expect(list.take(3).count == 3 && list.isEmpty(now: now) && !list.isStale(now: now))
    }
}
