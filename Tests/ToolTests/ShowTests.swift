import Subprocess
import TestSupport
import Testing

/// Tests the commands for one message.
@Suite(.timeLimit(.minutes(2)))
struct ShowTests {
    @Test("zkq show says where a message is, move changes its priority, and cancel deletes it")
    func showMoveCancel() async throws {
        let zkq = Tool(address: try await TestServer.address())
        let name = try #require(try await zkq("put", "--id", "order-1", "a").lines.first)
        let shown = try await zkq("show", name)
        #expect(shown.lines.first == "name       \(name)" && shown.lines.contains("place      ready"), "\(shown)")
        #expect(shown.lines.last == "payload    a")
        #expect(try await zkq("move", name, "--priority", "7").output.hasPrefix("item-007-"))
        let missing = try await zkq("show", name)
        #expect(!missing.isSuccess && missing.error.contains("There is no such message in /queue"), "\(missing)")
        let moved = try await zkq("show", "--id", "order-1", "--json").output
        #expect(moved.contains(#""name":"item-007-"#) && moved.contains(#""place":"ready""#), "\(moved)")
        #expect(try await zkq("cancel", "--id", "order-1").output.hasPrefix("item-007-"))
        #expect(try await zkq("cancel", "--id", "order-1").isSuccess == false)

        #expect(try await zkq("put", "--id", "order-1", "again").isSuccess)
        #expect(try await zkq("take", "--wait", "0").output == "again\n")
        #expect(try await zkq("show", "--id", "order-1").output == "place      finished\n")
    }

    @Test("zkq put sends to a group, whose next messages wait and are shown as waiting")
    func group() async throws {
        let zkq = Tool(address: try await TestServer.address())
        let names = try await zkq("put", "--group", "customer-42", "a", "b").lines
        #expect(names.last == "customer-42/item-100-0000000000")
        let shown = try await zkq("show", names.last ?? "").lines
        #expect(shown.contains("place      waiting") && shown.contains("group      customer-42"), "\(shown)")
        #expect(try await zkq("stats").lines.contains("groups     1"))
        #expect(try await zkq("put", "--group", "g", "--delay", "1s", "x").status == .exited(64))
        let taken = try await zkq("take", "--format", "json", "--count", "2", "--wait", "5").lines
        #expect(taken.count == 2 && taken.allSatisfy { $0.contains(#""group":"customer-42""#) }, "\(taken)")
        #expect(try await zkq("stats", "--json").output.contains(#""groups":0"#))
    }

    @Test("zkq show needs either a name or an ID")
    func usage() async throws {
        let zkq = Tool(address: "127.0.0.1:1")
        let results = [
            try await zkq("show"), try await zkq("show", "x", "--id", "y"), try await zkq("cancel"),
            try await zkq("move", "x"),
        ]
        #expect(results.allSatisfy { $0.status == .exited(64) })
    }
}
