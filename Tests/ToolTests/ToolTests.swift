import Foundation
import Subprocess
import SystemPackage
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperServer

/// Tests the commands of the tool.
@Suite(.timeLimit(.minutes(2)))
struct ToolTests {
    private struct Line: Decodable {
        let name: String
        let id: String?
        let priority: Int
        let deliveryCount: Int
        let fencingToken: Int64?
        let headers: [String: String]
        let payload: String?
        let payloadBase64: String?
    }

    private func decode(_ line: String) throws -> Line { try JSONDecoder().decode(Line.self, from: Data(line.utf8)) }

    private func lines(_ numbers: ClosedRange<Int>) -> String { numbers.map { "\($0)\n" }.joined() }

    /// Expects that the queue's tree has its empty folders and nothing else.
    private func expectEmptyTree(_ address: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let found = try await ZooKeeperClient.withClient(configuration: .init(servers: address)) { client in
            var found: [String] = []
            for name in try await client.children(of: "/queue").names.sorted() {
                found += [name] + (try await client.children(of: "/queue/\(name)").names.map { "\(name)/\($0)" })
            }
            return found
        }
        #expect(
            found == ["consumers", "dead", "earlier", "epoch", "idle", "items", "partial", "producers"],
            sourceLocation: sourceLocation)
    }

    @Test("Lines pass through a queue on three servers in order")
    func linesInOrder() async throws {
        let dev = Tool(address: "")
        _ = try await dev.started("dev", "--servers", "3") { pid, lines in
            var output = lines.makeAsyncIterator()
            let ready = try #require(try await output.next())
            #expect(ready.hasPrefix("ready 127.0.0.1:"))
            let zkq = Tool(address: String(ready.dropFirst(6)))
            #expect(zkq.address.split(separator: ",").count == 3)
            let put = try await zkq("put", "--lines", input: self.lines(1...500))
            #expect(put.isSuccess && put.lines.count == 500 && put.lines == put.lines.sorted())
            let take = try await zkq("take", "--wait", "0")
            #expect(take.isSuccess && take.output == self.lines(1...500))
            try await expectEmptyTree(zkq.address)
            kill(pid, SIGTERM)
            #expect(try await output.next() == nil)
        }
    }

    @Test("A recovery redelivers the messages of a killed consumer")
    func killedConsumer() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "--lines", input: lines(1...20)).isSuccess)
        _ = try await zkq.started(
            "take", "--prefetch", "10", "--hold", "60", "--session-timeout", "1", "--format", "json"
        ) { pid, output in
            for try await line in output {
                #expect(try decode(line).payload == "1")
                break
            }
            kill(pid, SIGKILL)
        }
        try await waitUntilConsumersAreGone(zkq.address)
        let recovered = try await zkq("recover", "--once")
        #expect(recovered.output == "recovered 10, redelivered 10, dead-lettered 0, consumers removed 1\n")
        let taken = try await zkq("take", "--wait", "0", "--format", "json").lines.map(decode)
        #expect(taken.map(\.payload) == (1...20).map(String.init))
        #expect(taken.map(\.deliveryCount) == .init(repeating: 2, count: 10) + .init(repeating: 1, count: 10))
        try await expectEmptyTree(zkq.address)
    }

    @Test("zkq doctor prints each finite counter as a table and as JSON")
    func doctorCounters() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("doctor").isSuccess == false)
        #expect(try await zkq("put", "a").isSuccess)
        let table = try await zkq("doctor", "--for", "0.2").lines.filter { !$0.hasPrefix("warning: ") }
        #expect(table.count == 6 && table[1].hasPrefix("messages") && table[1].contains("1500000000"))
        struct Counter: Decodable { let counter: String, value: Int, end: Int, perSecond: Double }
        let json = try await zkq("doctor", "--for", "0.2", "--json").output
        let sequenceUsage = try JSONDecoder().decode([Counter].self, from: Data(json.utf8))
        #expect(sequenceUsage.first { $0.counter == "messages" }?.value == 1)
        // The two measurements of the doctor are transactions themselves.
        #expect(sequenceUsage.first { $0.counter == "transactions" }.map { $0.value > 0 && $0.perSecond > 0 } == true)
    }

    @Test("zkq recover stores a maximum of deliveries, and keeps one that the queue has")
    func storedMaximumDeliveries() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "a").isSuccess)
        try await ZooKeeperClient.withClient(configuration: .init(servers: zkq.address)) { client in
            let queue = try MessageQueue(client)
            #expect(try await zkq("recover", "--once").isSuccess)
            #expect(try await queue.attributes() == QueueAttributes())
            for count in ["3", "4"] {
                #expect(try await zkq("recover", "--once", "--maximum-deliveries", count).isSuccess)
                #expect(try await queue.attributes().maximumDeliveries == 3)
            }
        }
    }

    @Test("zkq consumers prints what a consumer holds, as text and as JSON")
    func consumers() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await !zkq("consumers").isSuccess)
        #expect(try await zkq("put", "a").isSuccess)
        #expect(try await zkq("consumers").output.isEmpty)
        try await ZooKeeperClient.withClient(configuration: .init(servers: zkq.address)) { client in
            try await MessageQueue(client).withConsumer { messages in
                var messages = messages.makeAsyncIterator()
                let message = try #require(try await messages.next())
                let columns = try await zkq("consumers").output.split(whereSeparator: \.isWhitespace)
                #expect(columns.count == 4 && columns[1] == "alive" && columns[2] == message.nodeName)
                let json = try await zkq("consumers", "--json").output
                #expect(json.contains("\"alive\":true") && json.contains("\"name\":\"\(message.nodeName)\""))
                try await message.acknowledge()
            }
        }
    }

    @Test("A full queue refuses messages, and zkq doctor warns of it and of harmful server settings")
    func fullQueue() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "--lines", input: lines(1...10)).isSuccess)
        #expect(
            try await zkq("bound", "--messages", "10", "--bytes", "1000").output == "messages   10\nbytes      1000\n")
        let folder = FileManager.default.temporaryDirectory.appending(path: "doctor-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (bad, good) = (folder.appending(path: "bad.cfg").path(), folder.appending(path: "good.cfg").path())
        try Data("# autopurge.purgeInterval=1\nautopurge.purgeInterval = 0\nforceSync: no\n".utf8)
            .write(to: URL(filePath: bad))
        try Data("autopurge.purgeInterval=24\nforceSync=yes\n".utf8).write(to: URL(filePath: good))
        let warnings = try await zkq("doctor", "--for", "0.1", "--server-config", bad, "--server-config", good).lines
            .filter { $0.hasPrefix("warning: ") && !$0.contains("ZOOKEEPER-") }
        #expect(warnings.count == 3, "\(warnings)")
        #expect(warnings[0].contains("10 of 10 messages"))
        #expect(warnings[1].contains("autopurge is off") && warnings[2].contains("forceSync=no"))
        #expect(try await !zkq("doctor", "--for", "0.1", "--server-config", folder.path()).isSuccess)
        let json = try await zkq("doctor", "--for", "0.1", "--json")
        #expect(json.lines.count == 1 && json.error.contains("nearly full"))

        let refused = try await zkq("put", "more")
        #expect(
            !refused.isSuccess && refused.error.contains("is full: 10 of 10 messages") && refused.lines.isEmpty)
        async let late = zkq("put", "--wait-when-full", "more")
        #expect(try await zkq("take", "--count", "1").output == "1\n")
        #expect(try await late.isSuccess)
        #expect(try await zkq("capacity", "--messages", "20").output == "messages   20\nbytes      1000\n")
        #expect(try await zkq("bound", "--none").output == "messages   -\nbytes      -\n")
    }

    @Test("A consumer that was stopped until its session ended cannot acknowledge its message")
    func stoppedConsumer() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "a").isSuccess)
        let stopped = try await zkq.started("take", "--hold", "3", "--session-timeout", "1", "--wait", "0") {
            pid, output in
            var lines = output.makeAsyncIterator()
            #expect(try await lines.next() == "a")
            kill(pid, SIGSTOP)
            try await waitUntilConsumersAreGone(zkq.address)
            #expect(try await zkq("recover", "--once").output.hasPrefix("recovered 1, redelivered 1"))
            // Another consumer holds the message when the stopped one continues.
            _ = try await zkq.started("take", "--hold", "60", "--format", "json") { _, output in
                for try await line in output {
                    #expect(try decode(line).deliveryCount == 2)
                    break
                }
                let before = try await zkq("stats", "--json").output
                kill(pid, SIGCONT)
                // The stopped consumer exits, because no message is ready.
                #expect(try await lines.next() == nil)
                #expect(try await zkq("stats", "--json").output == before && before.contains("\"leased\":1"))
            }
        }
        #expect(stopped.error.contains("Could not acknowledge item-100-0000000000. Lease lost"))
    }

    @Test("Two consumers share the messages without duplicates")
    func twoConsumers() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "--lines", input: lines(1...1_000)).isSuccess)
        // The hold time lets both consumers have a share, whichever process starts first.
        async let first = zkq("take", "--wait", "1", "--hold", "0.005")
        async let second = zkq("take", "--wait", "1", "--hold", "0.005")
        let taken = try await [first, second]
        #expect(taken.allSatisfy { $0.isSuccess && !$0.lines.isEmpty })
        let all = taken.flatMap(\.lines)
        #expect(all.count == 1_000 && Set(all) == Set((1...1_000).map(String.init)))
        try await expectEmptyTree(zkq.address)
    }

    @Test("zkq put, peek and take apply their options")
    func options() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(
            try await zkq("put", "--header", "k=v=w", "--header", "e=", "second", "third").output
                == "item-100-0000000000\nitem-100-0000000001\n")
        #expect(try await zkq("put", "--priority", "3", "first").output == "item-003-0000000002\n")
        let peeked = try await zkq("peek", "--count", "2").lines
        for output in ["item-100-0000000000\n", "duplicate\n"] {
            #expect(try await zkq("put", "--queue", "/other", "--id", "i", "once").output == output)
        }
        #expect(peeked == ["first", "second"])
        let one = try await zkq("take", "--count", "1", "--format", "json").lines.map(decode)
        #expect(one.count == 1 && one[0].priority == 3 && one[0].payload == "first" && one[0].fencingToken ?? 0 > 0)
        let rest = try await zkq("take", "--wait", "2", "--format", "json").lines.map(decode)
        #expect(rest.map(\.payload) == ["second", "third"] && rest[0].headers == ["k": "v=w", "e": ""])
        let empty = try await zkq("put", "--lines", input: "\nlast without an end")
        #expect(empty.lines.count == 2)
        #expect(try await zkq("take", "--wait", "0").output == "\nlast without an end\n")
    }

    @Test("zkq stats counts messages, zkq dead redrives dead letters, and zkq purge deletes messages")
    func statsDeadAndPurge() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await !zkq("stats").isSuccess)
        #expect(try await zkq("put", "a", "b", "c").isSuccess)
        let stats = try await zkq("stats", "--json").output
        #expect(stats.contains("\"ready\":3") && stats.contains("\"oldestAgeSeconds\":"))
        let client = try ZooKeeperClient(configuration: .init(servers: zkq.address))
        let consumer = QueueConsumer(try MessageQueue(client))
        var messages = consumer.makeAsyncIterator()
        for _ in 0..<2 { try await #require(try await messages.next()).deadLetter(reason: "why") }
        await consumer.close()
        await client.close()
        #expect(try await zkq("dead", "list").lines == ["item-100-0000000000\twhy\ta", "item-100-0000000001\twhy\tb"])
        #expect(try await zkq("dead", "redrive", "item-100-0000000001").isSuccess)
        #expect(try await !zkq("dead", "redrive", "item-100-0000000009").isSuccess)
        #expect(try await zkq("peek").lines == ["b", "c"])
        #expect(try await !zkq("purge").isSuccess)
        #expect(try await zkq("purge", "--yes").output == "2\n")
        #expect(try await zkq("dead", "purge", "--yes").output == "1\n")
        try await expectEmptyTree(zkq.address)
    }

    @Test("A command with invalid arguments prints an error without secrets, and fails")
    func invalidArguments() async throws {
        let nowhere = Tool(address: "127.0.0.1:1")
        for arguments in [
            ["put"], ["put", "--priority", "1000", "x"], ["put", "--header", "x", "y"], ["take", "--prefetch", "0"],
            ["put", "--queue", "no/slash", "x"], ["stats", "--connect", "nowhere"], ["put", "--auth", "secret", "x"],
            ["dev", "--servers", "0"], ["dev", "--port", "70000"],
        ] {
            let result = try await run(
                .path(Tool.path), arguments: Arguments(arguments), environment: nowhere.environment, input: .none,
                output: .string(limit: 1 << 16), error: .string(limit: 1 << 16))
            #expect(!result.terminationStatus.isSuccess && result.standardOutput.isEmpty, "\(arguments)")
            #expect(result.standardError.hasPrefix("Error: "), "\(arguments)")
            #expect(!result.standardError.contains("secret"))
        }
    }

    @Test("A closed pipe ends zkq take without an error message, and loses no message")
    func closedPipe() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "--lines", input: lines(1...50)).isSuccess)
        let result = try await zkq.shell("\"$0\" take --prefetch 5 | head -n 3")
        #expect(result.output == "1\n2\n3\n" && result.error == "")
        // The tool may have written more lines into the pipe than were read from it. It requeues the messages that it
        // could not write, and none in between is missing.
        let rest = try await zkq("take", "--wait", "0").lines.compactMap { Int($0) }
        let first = try #require(rest.first)
        #expect(first >= 4 && rest == Array(first...50))
    }

    @Test("Every command refuses a number outside its limits")
    func numberLimits() async throws {
        let nowhere = Tool(address: "127.0.0.1:1")
        for (command, options) in [
            (["put", "x"], ["--priority"]), (["take"], ["--count", "--wait", "--prefetch", "--hold"]),
            (["peek"], ["--count"]), (["dead", "list"], ["--count"]), (["delayed", "list"], ["--limit"]),
            (["recover"], ["--every", "--maximum-deliveries"]), (["bound"], ["--messages", "--bytes"]),
            (["doctor"], ["--for"]), (["drain"], ["--timeout"]), (["dev"], ["--servers", "--port"]),
            (["stats"], ["--session-timeout"]),
        ] {
            for option in options {
                let result = try await run(
                    .path(Tool.path), arguments: Arguments(command + [option, "-1"]),
                    environment: nowhere.environment, input: .none, output: .string(limit: 1 << 16),
                    error: .string(limit: 1 << 16))
                #expect(!result.terminationStatus.isSuccess && result.standardOutput.isEmpty)
                #expect(result.standardError.hasPrefix("Error: \(option) must be "), "\(result.standardError)")
            }
        }
    }

    @Test("A command that does not create queues fails when there is no queue, and creates nothing")
    func missingQueue() async throws {
        let zkq = Tool(address: try await TestServer.address())
        for result in [
            try await zkq("bound"), try await zkq("bound", "--messages", "5"), try await zkq("bound", "--none"),
            try await zkq("dead", "list"), try await zkq("dead", "redrive", "--all"),
            try await zkq("dead", "purge", "--yes"), try await zkq("purge", "--yes"), try await zkq("peek"),
            try await zkq("stats"), try await zkq("doctor", "--for", "0.1"), try await zkq("delayed", "list"),
            try await zkq("delayed", "cancel", "x"), try await zkq("delayed", "run-now", "--all"),
            try await zkq("pause"), try await zkq("resume"), try await zkq("drain"), try await zkq("release", "x"),
        ] {
            #expect(!result.isSuccess && result.output.isEmpty)
            #expect(result.error.contains("There is no queue at /queue"), "\(result.error)")
        }
        let names = try await ZooKeeperClient.withClient(configuration: .init(servers: zkq.address)) { client in
            try await client.children(of: "/").names
        }
        #expect(names.isEmpty)
    }

    @Test("Commands refuse a path above the limit, and accept a long one below it")
    func longPaths() async throws {
        let zkq = Tool(address: try await TestServer.address())
        let queue = "/" + String(repeating: "q", count: 3_000)
        for result in [
            try await zkq("put", "--queue", queue, "x"), try await zkq("take", "--queue", queue, "--wait", "0"),
            try await zkq("recover", "--queue", queue, "--once"), try await zkq("stats", "--queue", queue),
            try await zkq("purge", "--queue", queue, "--yes"), try await zkq("dead", "list", "--queue", queue),
        ] {
            #expect(!result.isSuccess && result.error.contains("the limit is 512"), "\(result.error)")
        }
        let long = "/" + String(repeating: "q", count: 400)
        #expect(try await zkq("put", "--queue", long, "--lines", input: lines(1...700)).lines.count == 700)
        #expect(try await zkq("take", "--queue", long, "--count", "100").output == lines(1...100))
        #expect(try await zkq("purge", "--queue", long, "--yes").output == "600\n")
    }

    @Test("JSON output has the ID of a message that was sent with one")
    func idsInJSON() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "--id", "order-1", "a").isSuccess)
        #expect(try await zkq("put", "b").isSuccess)
        let ids = try await zkq("peek", "--format", "json").lines.map { try decode($0).id }
        #expect(ids == ["order-1", nil])
        let client = try ZooKeeperClient(configuration: .init(servers: zkq.address))
        let consumer = QueueConsumer(try MessageQueue(client))
        var messages = consumer.makeAsyncIterator()
        try await #require(try await messages.next()).deadLetter(reason: "why")
        await consumer.close()
        await client.close()
        #expect(try await zkq("dead", "list", "--format", "json").output.contains("\"id\":\"order-1\""))
        #expect(try await zkq("dead", "redrive", "--all").output == "1\n")
        let taken = try await zkq("take", "--wait", "0", "--format", "json").lines.map { try decode($0).id }
        #expect(taken == ["order-1", nil])
    }

    @Test("zkq take fails when it leaves messages that it cannot claim")
    func unclaimableMessages() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "a").isSuccess)
        try await ZooKeeperClient.withClient(configuration: .init(servers: zkq.address)) { client in
            // An envelope of a later version, which consumers skip.
            let data: [UInt8] = [0x8F, 0x5A, 0x4B, 0x51, 99, 1, 0, 0, 0, 0]
            _ = try await client.create("/queue/items/item-100-", data: data, mode: .persistentSequential)
        }
        for (wait, output) in [("0", "a\n"), ("1", "")] {
            let result = try await zkq("take", "--wait", wait)
            #expect(!result.isSuccess && result.output == output)
            #expect(result.error.contains("Messages are left: 1 ready"), "\(result.error)")
        }
    }

    @Test("zkq --version prints the release and the commit")
    func version() async throws {
        let result = try await Tool(address: "")("--version")
        #expect(result.isSuccess && result.lines.count == 1)
        #expect(result.output.wholeMatch(of: /zkq \d+\.\d+\.\d+(-dev)? \(.+\)\n/) != nil, "\(result.output)")
    }

    /// Waits until no consumer has a session.
    private func waitUntilConsumersAreGone(_ address: String) async throws {
        try await ZooKeeperClient.withClient(configuration: .init(servers: address)) { client in
            for name in try await client.children(of: "/queue/consumers").names {
                let path = "/queue/consumers/\(name)/active"
                for try await stat in client.statUpdates(of: path) where stat == nil { break }
            }
        }
    }
}
