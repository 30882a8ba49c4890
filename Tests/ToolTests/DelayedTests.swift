import Foundation
import Subprocess
import SystemPackage
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue

/// Tests the commands for delayed messages and for messages that expire.
@Suite(.timeLimit(.minutes(2)))
struct DelayedTests {
    private struct Line: Decodable {
        let name: String
        let id: String?
        let priority, deliveryCount: Int
        let dueAt: Int64
        let expiresAt: Int64?
        let payload: String?
    }

    private func delayed(_ zkq: Tool) async throws -> [Line] {
        try await zkq("delayed", "list", "--json").lines.map {
            try JSONDecoder().decode(Line.self, from: Data($0.utf8))
        }
    }

    @Test("zkq put holds a message back, and zkq delayed lists it and makes it ready")
    func runNow() async throws {
        let zkq = Tool(address: try await TestServer.address())
        let put = try await zkq("put", "--delay", "2h", "--priority", "7", "--id", "order-1", "a")
        let name = try #require(put.lines.first)
        #expect(put.isSuccess && name.hasSuffix("-item-007-0000000000"), "\(put.error)")
        #expect(try await zkq("take", "--wait", "0").output.isEmpty)

        let columns = try await zkq("delayed").output.split(whereSeparator: \.isWhitespace)
        try #require(columns.count == 7, "\(columns)")
        #expect(columns[0] == name && (7_000...7_200).contains(Int(columns[2]) ?? 0), "\(columns)")
        #expect(columns[3...] == ["7", "1", "order-1", "a"])

        #expect(try await zkq("delayed", "run-now", name).output == "1\n")
        let again = try await zkq("delayed", "run-now", name)
        #expect(!again.isSuccess && again.error.contains("There is no delayed message with this name"))
        #expect(try await zkq("delayed", "list").output.isEmpty)
        #expect(try await zkq("take", "--wait", "0").output == "a\n")
    }

    @Test("zkq delayed run-now makes all messages ready, including one that was requeued with a delay")
    func runAllNow() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "requeued").isSuccess)
        try await ZooKeeperClient.withClient(configuration: .init(servers: zkq.address)) { client in
            try await MessageQueue(client).withConsumer { messages in
                var messages = messages.makeAsyncIterator()
                try await #require(try await messages.next()).requeue(after: .seconds(60))
            }
        }
        #expect(try await zkq("put", "--lines", "--delay", "1d", input: "b\nc\n").lines.count == 2)
        let listed = try await delayed(zkq)
        #expect(listed.map(\.payload) == ["requeued", "b", "c"] && listed.map(\.deliveryCount) == [2, 1, 1])
        #expect(try await zkq("delayed", "list", "--limit", "1").lines.count == 1)
        #expect(try await zkq("delayed", "run-now", "--all").output == "3\n")
        #expect(try await zkq("delayed", "run-now", "--all").output == "0\n")
        #expect(try await zkq("take", "--wait", "0").output == "requeued\nb\nc\n")
    }

    @Test("zkq delayed cancel deletes the messages with these names or this ID, and no other message")
    func cancel() async throws {
        let zkq = Tool(address: try await TestServer.address())
        let names = try await zkq("put", "--delay", "1h", "a", "b", "c").lines
        try #require(names.count == 3)
        #expect(try await zkq("put", "--delay", "500m", "--id", "order-1", "d").isSuccess)
        #expect(try await zkq("delayed", "cancel", names[0], names[2]).output == "2\n")
        #expect(try await zkq("delayed", "cancel", "--id", "order-1").output == "1\n")
        for (arguments, reason) in [
            ([names[0]], "There is no delayed message with this name in /queue"),
            (["--id", "order-1"], "There is no delayed message with this ID in /queue"),
            (["item-100-0000000000"], "is not the name of a delayed message"),
        ] {
            let result = try await run(
                .path(Tool.path), arguments: Arguments(["delayed", "cancel"] + arguments),
                environment: zkq.environment, input: .none, output: .string(limit: 1 << 16),
                error: .string(limit: 1 << 16))
            #expect(!result.terminationStatus.isSuccess && result.standardOutput.isEmpty)
            #expect(result.standardError.contains(reason), "\(result.standardError)")
        }
        #expect(try await delayed(zkq).map(\.name) == [names[1]])
    }

    @Test("zkq put accepts a time in UTC, with an offset and in milliseconds, and one that has passed means now")
    func times() async throws {
        let zkq = Tool(address: try await TestServer.address())
        let due = Int64(Date().timeIntervalSince1970) + 3_600
        func text(_ seconds: Int64) -> String {
            let text = Date(timeIntervalSince1970: TimeInterval(due + seconds)).formatted(.iso8601)
            return String(text.dropLast())
        }
        for time in [
            "\(text(0))Z", "\(text(3_600))+01:00", "\(text(-5_400)).000-01:30", "\(due)000", "\(text(0)).2509Z",
        ] {
            let put = try await zkq("put", "--at", time, time)
            #expect(put.isSuccess, "\(time) \(put.error)")
        }
        #expect(try await delayed(zkq).map(\.dueAt) == [0, 0, 0, 0, 250].map { due * 1_000 + $0 })
        let printed = try await zkq("delayed", "list").lines.map { $0.split(separator: "\t")[1] }
        #expect(printed.first == "\(text(0)).000Z" && printed.last == "\(text(0)).250Z")
        for time in ["2001-09-09T01:46:40Z", "1000000000000"] {
            #expect(try await zkq("put", "--at", time, "past").output.hasPrefix("item-100-"))
        }
        #expect(try await zkq("take", "--wait", "0").output == "past\npast\n")
    }

    @Test("zkq put lets a message expire after a time or at a time, and JSON says when")
    func expiry() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "--expires-at", "1000000000000", "past").isSuccess)
        #expect(try await zkq("put", "--expires-at", "2100-01-01T00:00:00Z", "ready").isSuccess)
        #expect(try await zkq("put", "--delay", "1h", "--expires", "2h", "later").isSuccess)
        let message = try #require(try await delayed(zkq).first)
        let lifetime = (message.expiresAt ?? 0) - message.dueAt
        #expect((3_599_000...3_601_000).contains(lifetime), "\(lifetime)")
        let peeked = try await zkq("peek", "--format", "json").lines
        #expect(peeked.map { $0.contains(#""expiresAt":1000000000000,"#) } == [true, false], "\(peeked)")

        let taken = try await zkq("take", "--wait", "0", "--format", "json").lines
        #expect(taken.count == 1 && taken[0].contains(#""expiresAt":4102444800000,"#), "\(taken)")
        #expect(try await zkq("dead", "list").output.hasSuffix("\texpired\tpast\n"))
        #expect(try await zkq("dead", "list", "--format", "json").output.contains(#""expiresAt":1000000000000,"#))
    }

    @Test("Delays, times and selections that are invalid are refused before anything is sent")
    func invalidArguments() async throws {
        let nowhere = Tool(address: "127.0.0.1:1")
        for arguments in [
            ["put", "--delay", "-1s", "x"], ["put", "--delay", "10x", "x"], ["put", "--delay", "s", "x"],
            ["put", "--delay", "4000d", "x"], ["put", "--at", "-1", "x"], ["put", "--at", "1798135200", "x"],
            ["put", "--at", "2026-12-24T18:00:00", "x"], ["put", "--at", "2026-02-30T18:00:00Z", "x"],
            ["put", "--at", "2026-12-24T18:00:00Z ", "x"],
            ["put", "--delay", "1s", "--at", "2026-12-24T18:00:00Z", "x"],
            ["put", "--expires", "0", "x"], ["put", "--expires", "10x", "x"], ["put", "--expires", "7307d", "x"],
            ["put", "--expires", "-1s", "x"], ["put", "--expires-at", "1798135200", "x"],
            ["put", "--expires", "1s", "--expires-at", "2026-12-24T18:00:00Z", "x"],
            ["put", "--expires", "60s", "--delay", "1m", "x"],
            ["put", "--expires-at", "2026-12-24T18:00:00Z", "--at", "2026-12-24T18:00:00Z", "x"],
            ["delayed", "cancel"],
            ["delayed", "cancel", "--id", "i", "name"], ["delayed", "run-now"],
            ["delayed", "run-now", "--all", "name"],
        ] {
            let result = try await run(
                .path(Tool.path), arguments: Arguments(arguments), environment: nowhere.environment, input: .none,
                output: .string(limit: 1 << 16), error: .string(limit: 1 << 16))
            #expect(!result.terminationStatus.isSuccess && result.standardOutput.isEmpty, "\(arguments)")
            let error = result.standardError
            #expect(error.hasPrefix("Error: ") && !error.contains("No ZooKeeper server"), "\(arguments) \(error)")
        }
    }

    @Test("zkq stats counts delayed messages, and zkq doctor warns of one that no recovery has made ready")
    func lateMessage() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "--delay", "1h", "later").isSuccess)
        let doctor = try await zkq("doctor", "--for", "0.1")
        #expect(doctor.isSuccess && !doctor.output.contains("a delayed message"), "\(doctor.output) \(doctor.error)")
        try await ZooKeeperClient.withClient(configuration: .init(servers: zkq.address)) { client in
            // A producer would send a message whose time has passed without a delay.
            let slot = "/queue/delayed/19675/28333333"
            try await client.ensurePath(slot)
            _ = try await client.create(
                "\(slot)/1700000000000-item-100-", data: Array("late".utf8), mode: .persistentSequential)
        }
        let json = try await zkq("stats", "--json").output
        #expect(json.contains("\"delayed\":2,") && json.contains("\"nextDueAt\":1700000000000,"), "\(json)")
        let text = try await zkq("stats").lines
        #expect(text.contains("delayed    2") && text.contains("next due   2023-11-14T22:13:20.000Z"), "\(text)")
        #expect(try await zkq("doctor", "--for", "0.1").output.contains("warning: a delayed message has been due for "))

        #expect(try await zkq("recover", "--once").isSuccess)
        #expect(try await zkq("take", "--wait", "0").output == "late\n")
        #expect(try await !zkq("doctor", "--for", "0.1").output.contains("a delayed message"))
        #expect(try await zkq("delayed", "run-now", "--all").output == "1\n")
        #expect(try await zkq("stats", "--json").output.contains("\"nextDueAt\":null,"))
    }
}
