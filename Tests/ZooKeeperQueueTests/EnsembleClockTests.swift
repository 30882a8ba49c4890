import Testing

@testable import ZooKeeperQueue

/// What a process knows about the ensemble's clock.
@Suite(.timeLimit(.minutes(1)))
struct EnsembleClockTests {
    private static func time(_ milliseconds: Int64) -> EnsembleTime {
        EnsembleTime(millisecondsSince1970: milliseconds)
    }

    @Test("The true time is between the earliest and the latest one, whatever the round trips are")
    func bounds() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            var clock = EnsembleClock()
            #expect(clock.earliest(at: .zero) == nil && !clock.isFresh(at: .zero))
            var now = Duration.zero
            func truth() -> Int64 { 1_700_000_000_000 + Int64(now / .milliseconds(1)) }
            for _ in 0..<50 {
                let sentAt = now
                now += .microseconds(Int64.random(in: 0..<500_000, using: &random))
                let stamp = truth()
                now += .microseconds(Int64.random(in: 0..<500_000, using: &random))
                clock.observe(stamp, sentAt: sentAt, receivedAt: now)
                now += .milliseconds(Int64.random(in: 0..<60_000, using: &random))
                let (earliest, latest) = try (#require(clock.earliest(at: now)), #require(clock.latest(at: now)))
                #expect(earliest.millisecondsSince1970 <= truth() && truth() <= latest.millisecondsSince1970)
            }
        }
    }

    @Test("A clock that was set by a day is followed at the next observation")
    func jumps() throws {
        for jump: Int64 in [86_400_000, -86_400_000] {
            var clock = EnsembleClock()
            clock.observe(1_700_000_000_000, sentAt: .zero, receivedAt: .milliseconds(1))
            clock.observe(1_700_000_000_500 + jump, sentAt: .milliseconds(400), receivedAt: .milliseconds(600))
            let earliest = try #require(clock.earliest(at: .milliseconds(600)))
            #expect(abs(earliest.millisecondsSince1970 - 1_700_000_000_500 - jump) <= 1)
        }
    }

    @Test("A worse observation does not replace a better one, and an old one is not fresh")
    func precision() throws {
        var clock = EnsembleClock()
        clock.observe(1_700_000_000_000, sentAt: .zero, receivedAt: .milliseconds(1))
        clock.observe(1_700_000_000_500, sentAt: .milliseconds(100), receivedAt: .milliseconds(900))
        let earliest = try #require(clock.earliest(at: .milliseconds(900)))
        #expect(earliest >= Self.time(1_700_000_000_897))
        // A slow reading confirms the clock, although it tells less than the first one.
        #expect(clock.isFresh(at: .milliseconds(10_900)) && !clock.isFresh(at: .seconds(11)))
    }

    @Test("Times and stamps of any size never overflow")
    func extremes() {
        for stamp in [Int64.min, -1, 0, .max] {
            var clock = EnsembleClock()
            clock.observe(stamp, sentAt: .zero, receivedAt: .seconds(1))
            clock.observe(stamp, sentAt: .seconds(2), receivedAt: .seconds(3))
            _ = (clock.latest(at: .seconds(1_000_000_000)), clock.wait(until: Self.time(.max), at: .seconds(4)))
            _ = Self.time(stamp).advanced(by: .seconds(Int64.max)).advanced(by: .seconds(Int64.min))
            _ = DelaySlot(Self.time(stamp)).end
        }
        #expect(Self.time(.max).advanced(by: .seconds(1)) == Self.time(.max))
        #expect(Self.time(5).advanced(by: .microseconds(-500)) == Self.time(4))
    }
}
