import Foundation
import Testing
import ZooKeeperQueue
import ZooKeeperTestKit

@testable import ZooKeeperJobs

struct ScheduleTests {
    private struct Tick: Job { static let name = "tick"; var at: Date }

    private func schedule(_ jobs: JobQueue, _ missed: MissedTicks = .latest, every interval: Duration = .seconds(60))
        throws -> JobSchedule
    {
        JobSchedule(jobs, "minutely", try .every(interval), missed: missed) { Tick(at: $0) }
    }

    @Test("Each tick gets one job, however many processes run the schedule")
    func once() async throws {
        let test = try await JobQueue.test()
        let another = JobQueue(try MessageQueue(store: test.zookeeper.connect(), path: "/queue"))
        let (first, second) = (try schedule(test.jobs), try schedule(another))
        try await test.advance(by: .seconds(330), first, second)
        let ticks = try await test.pushed(Tick.self).map { Int($0.job.at.timeIntervalSince1970) - 1_767_225_600 }
        #expect(ticks == [60, 120, 180, 240, 300])
    }

    @Test(
        "Ticks of a time without any process are treated by the policy",
        arguments: [
            (MissedTicks.all, [600, 1_200, 1_800, 2_400, 3_000, 3_600, 4_200]), (.latest, [600, 3_000, 3_600, 4_200]),
            (.skip, [600, 3_600, 4_200]),
        ])
    func missed(_ policy: MissedTicks, _ expected: [Int]) async throws {
        let test = try await JobQueue.test()
        let schedule = try schedule(test.jobs, policy, every: .seconds(600))
        try await test.advance(by: .seconds(650), schedule)
        // No process runs until 400 seconds after the tick at 3,000.
        try await test.advance(by: .seconds(2_750))
        try await test.advance(by: .seconds(850), schedule)
        let ticks = try await test.pushed(Tick.self).map { Int($0.job.at.timeIntervalSince1970) - 1_767_225_600 }
        #expect(ticks == expected)
    }

    @Test("The plan of a long gap is found without walking through every tick, and in bounded portions")
    func longGap() throws {
        let timetable = try JobTimetable.every(.seconds(1))
        let year: Int64 = 366 * 86_400_000
        let late = stride(from: year - 60_000, through: year, by: 1_000).map { $0 }
        #expect(MissedTicks.latest.plan(after: 0, now: year, in: timetable) == .init(ticks: late, last: year))
        #expect(
            MissedTicks.skip.plan(after: 0, now: year, in: timetable)
                == .init(ticks: Array(late.dropFirst()), last: year))
        #expect(
            MissedTicks.latest.plan(after: year - 3_000, now: year, in: timetable)
                == .init(ticks: late.suffix(3), last: year))
        #expect(MissedTicks.all.plan(after: 0, now: year, in: timetable).ticks.count == 64)
        let nightly = try JobTimetable.cron("0 3 * * *", timeZone: .gmt)
        let (day, three): (Int64, Int64) = (86_400_000, 3 * 3_600_000)
        #expect(
            MissedTicks.latest.plan(after: 0, now: 1_000 * day, in: nightly)
                == .init(ticks: [999 * day + three], last: 999 * day + three))
        #expect(
            MissedTicks.skip.plan(after: 0, now: 1_000 * day, in: nightly) == .init(ticks: [], last: 999 * day + three))
        #expect(MissedTicks.latest.plan(after: three, now: three + 1, in: nightly) == .init(ticks: [], last: three))
    }

    @Test(
        "A schedule restarts when its node holds an invalid time",
        arguments: ["\u{FF}", "9223372036854775807", "-9223372036854775808", "1798761600000", ""])
    func damaged(_ data: String) async throws {
        let test = try await JobQueue.test()
        let schedule = try schedule(test.jobs)
        try await test.advance(by: .seconds(61), schedule)
        let session = test.zookeeper.connect()
        _ = try await session.set("/queue/jobs/schedules/minutely", data: Array(data.utf8), version: nil)
        try await test.advance(by: .seconds(60), schedule)
        #expect(try await test.pushed(Tick.self).count == 2)
    }

    @Test("A name that cannot be a node's is refused")
    func name() async throws {
        let test = try await JobQueue.test()
        for name in ["", ".", "..", "a/b", "é", String(repeating: "x", count: 129)] {
            let schedule = JobSchedule(test.jobs, name, try .every(.seconds(60))) { Tick(at: $0) }
            let error = await #expect(throws: JobError.self) { try await schedule.run() }
            #expect(error?.code == .invalidSchedule)
        }
    }

    @Test("The jobs of a schedule can have neither an ID nor a lock")
    func options() async throws {
        let test = try await JobQueue.test()
        for options in [JobOptions(id: "x"), JobOptions(unique: .until(.done))] {
            let schedule = JobSchedule(test.jobs, "s", try .every(.seconds(60)), options: options) { Tick(at: $0) }
            let error = await #expect(throws: JobError.self) { try await schedule.run() }
            #expect(error?.code == .invalidSchedule)
        }
    }

    @Test("Large jobs of many missed ticks are stored in several transactions")
    func largeJobs() async throws {
        struct Large: Job {
            static let name = "large"
            var text: String
        }
        let test = try await JobQueue.test()
        let schedule = JobSchedule(test.jobs, "large", try .every(.seconds(60)), missed: .all) { _ in
            Large(text: String(repeating: "x", count: 30_000))
        }
        try await test.advance(by: .seconds(1), schedule)
        try await test.advance(by: .seconds(60 * 40))
        try await test.advance(by: .seconds(1), schedule)
        #expect(try await test.pushed(Large.self).count == 40)
    }
}
