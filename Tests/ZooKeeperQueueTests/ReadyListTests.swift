import Testing

@testable import ZooKeeperQueue

struct ReadyListTests {
    private let now = Duration.seconds(1_000)

    private func entries(_ count: Int) -> [ReadyList.Entry] {
        (0..<count).compactMap { ItemName("item-100-\($0)").map { ReadyList.Entry(name: $0, isEarlier: false) } }
    }

    private func list(
        _ count: Int, rank: Int, of consumers: Int, prefetch: Int = 4, refills: Int = 1
    ) -> [ReadyList.Entry] {
        var list = ReadyList()
        for _ in 0..<refills {
            list.refill(
                entries(count).shuffled(), share: .init(rank: rank, consumers: consumers), prefetch: prefetch,
                listingTook: .zero, now: now)
        }
        return list.take(count)
    }

    @Test("A single consumer takes all messages in order")
    func singleConsumer() { #expect(list(10, rank: 0, of: 1) == entries(10)) }

    @Test("The shares of several consumers are disjoint and complete", arguments: [2, 3, 7])
    func shares(consumers: Int) {
        let shares = (0..<consumers).map { list(100, rank: $0, of: consumers) }
        #expect(Set(shares.joined()) == Set(entries(100)) && shares.joined().count == 100)
        for share in shares { #expect(share == share.sorted()) }
    }

    @Test("The parts of a long list stay the same when messages at its beginning are claimed")
    func stableParts() {
        let (all, consumers) = (entries(2_000), 4)
        func part(_ rank: Int, of entries: ArraySlice<ReadyList.Entry>) -> Set<ReadyList.Entry> {
            var list = ReadyList()
            list.refill(
                Array(entries), share: .init(rank: rank, consumers: consumers), prefetch: 4, listingTook: .zero,
                now: now)
            return Set(list.take(all.count))
        }
        for rank in 0..<consumers {
            let before = part(rank, of: all[...])
            for count in [31, 32, 100, 128] {
                #expect(part(rank, of: all.dropFirst(count)) == before.subtracting(all.prefix(count)))
            }
        }
        let parts = (0..<consumers).map { part($0, of: all.shuffled()[...]) }
        #expect(Set(parts.joined()) == Set(all) && parts.joined().count == all.count)
    }

    @Test("With too few messages to share, every consumer tries")
    func shortQueue() {
        #expect(list(1, rank: 0, of: 3) == entries(1))
        #expect(list(1, rank: 2, of: 3) == entries(1))
    }

    @Test("A consumer takes mostly its own part of a long list, and sometimes that of another one")
    func otherPartsOfLongList() {
        for consumers in 2...5 {
            let parts = (0..<consumers).map { list(200, rank: $0, of: consumers).first }
            for rank in 0..<consumers {
                let seen = (1...4 * consumers).map { list(200, rank: rank, of: consumers, refills: $0).first }
                #expect(Set(seen) == Set(parts) && seen.count { $0 == parts[rank] } > seen.count / 2)
            }
        }
    }

    @Test("A consumer takes mostly its own part of a short list, and sometimes the part of a lower rank")
    func otherParts() {
        for consumers in 2...5 {
            let parts = (0..<consumers).map { list(50, rank: $0, of: consumers).first }
            for rank in 0..<consumers {
                let seen = (1...4 * consumers).map { list(50, rank: rank, of: consumers, refills: $0).first }
                #expect(Set(seen) == Set(parts[...rank]) && seen.count { $0 == parts[rank] } > seen.count / 2)
            }
        }
    }

    @Test("A stale list is not used")
    func staleList() {
        var list = ReadyList()
        list.refill(entries(3), share: .init(), prefetch: 4, listingTook: .zero, now: now)
        #expect(!list.isEmpty(now: now + .milliseconds(900)) && list.take(1).count == 1)
        #expect(list.isEmpty(now: now + .milliseconds(1_100)) && list.isStale(now: now + .milliseconds(1_100)))
        list.refill(entries(3), share: .init(), prefetch: 4, listingTook: .milliseconds(500), now: now)
        #expect(!list.isStale(now: now + .seconds(9)))
        #expect(list.take(3).count == 3 && list.isEmpty(now: now) && !list.isStale(now: now))
    }
}
