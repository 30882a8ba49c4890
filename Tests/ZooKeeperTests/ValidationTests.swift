import Configuration
import TestSupport
import Testing

@testable import ZooKeeper

/// Invalid input is refused before it reaches the C client, which would abort the process on some of it.
@Suite(.timeLimit(.minutes(2)))
struct ValidationTests {
    @Test("A valid path is accepted", arguments: ["/", "/a", "/a/b", "/a.b", "/...", "/ü/漢字", "/a b", "/\u{FFEF}"])
    func validPaths(path: String) throws { try NodePath.validate(path) }

    @Test(
        "An invalid path is refused",
        arguments: [
            "", "a", "a/b", "//", "/a//b", "/a/", "/.", "/..", "/a/./b", "/a/../b", "/a\0b", "/\u{1}", "/\u{1F}",
            "/\u{7F}", "/\u{9F}", "/\u{E000}", "/\u{F000}", "/\u{1F600}", "/\u{FFF0}", "/\u{FFFF}",
        ])
    func invalidPaths(path: String) {
        let error = #expect(throws: ZooKeeperError.self) { try NodePath.validate(path) }
        #expect(error?.code == .invalidArgument && error?.outcome == .notApplied)
    }

    @Test("The server accepts the first and last characters of the valid ranges")
    func boundaryCharacters() async throws {
        try await withTestClient { client in
            // The first and the last character of each valid range.
            for character in ["\u{20}", "\u{7E}", "\u{A0}", "\u{D7FF}", "\u{F900}", "\u{FFEF}"] {
                try await client.create("/x\(character)x")
            }
            let count = try await client.children(of: "/").names.count
            #expect(count == 6)
        }
    }

    @Test("The path of a sequential node may end in a slash")
    func sequentialPaths() throws {
        try NodePath.validate("/a/", sequential: true)
        try NodePath.validate("/", sequential: true)
        #expect(throws: ZooKeeperError.self) { try NodePath.validate("/a//", sequential: true) }
    }

    @Test("Every call refuses invalid input, and changes nothing")
    func invalidInput() async throws {
        try await withTestClient { client in
            let bad = "/a//b"
            for call: () async throws -> Void in [
                { try await client.create(bad) }, { try await client.delete(bad) }, { _ = try await client.get(bad) },
                { _ = try await client.exists(bad) }, { try await client.set(bad, data: []) },
                { _ = try await client.children(of: bad) }, { _ = try await client.acl(of: bad) },
                { try await client.setACL(of: bad, to: .open) }, { try await client.sync(bad) },
                // The C client would corrupt its heap or abort the process on some of these.
                { try await client.multi([.create(bad, data: [])]) }, { try await client.multi([.check("")]) },
                { try await client.multi([.create("/ok", data: []), .delete("x")]) },
                { try await client.multi([.create("/c", data: [], mode: .container)]) },
                { try await client.multi([.create("/t", data: [], mode: .persistent(timeToLive: .seconds(1)))]) },
                { try await client.multi([]) },
                { try await client.multi(.init(repeating: .check("/"), count: 1_001)) },
                { try await client.create("/a", mode: .persistent(timeToLive: .zero)) },
                { try await client.create("/a", acl: []) }, { try await client.setACL(of: "/a", to: []) },
                { try await client.multi([.create("/a", data: [], acl: [])]) },
                { try await client.create("/a", acl: [ACL(.all, scheme: "wor\0ld", id: "anyone")]) },
            ] {
                await expect(.invalidArgument, outcome: .notApplied, call)
            }
            let names = try await client.children(of: "/").names
            #expect(names.isEmpty)
        }
    }

    @Test("Multis on an expiring session neither abort the process nor apply in part")
    func multiOnExpiringSession() async throws {
        try await withTestClient { client in
            try await client.create("/a")
            let sending = Task {
                var failures = 0
                while !Task.isCancelled {
                    await withTaskGroup(of: Bool.self) { group in
                        for _ in 0..<50 {
                            group.addTask {
                                (try? await client.multi([.check("/a"), .set("/a", data: [1]), .check("/none")])) == nil
                            }
                        }
                        for await failed in group where failed { failures += 1 }
                    }
                }
                return failures
            }
            for _ in 0..<5 { try await expireSession(of: client) }
            sending.cancel()
            #expect(await sending.value > 0)
            #expect(try await client.get("/a").stat.version == 0)
        }
    }

    @Test("Request sizes are computed exactly, up to the server's own limit")
    func exactSizes() async throws {
        let limit = 1_048_575
        let address = try await TestServer.address()
        let configuration = try ZooKeeperConfiguration(servers: address, maximumRequestSize: limit)
        try await ZooKeeperClient.withClient(configuration: configuration) { client in
            try await client.create("/a")
            let full = try client.full("/a")
            let overhead = Request.set(path: full, data: [], version: nil).encodedSize
            // At one more byte, the server would close the connection.
            try await client.set("/a", data: .init(repeating: 1, count: limit - overhead))
            await expect(.requestTooLarge, outcome: .notApplied) {
                try await client.set("/a", data: .init(repeating: 1, count: limit - overhead + 1))
            }
            let operations = { (count: Int) -> [ZooKeeper.ZooKeeperOperation] in
                [.set("/a", data: .init(repeating: 2, count: count)), .check("/a")]
            }
            let multi = Request.multi([.set(full, data: []), .check(full)]).encodedSize
            try await client.multi(operations(limit - multi))
            await expect(.requestTooLarge) { try await client.multi(operations(limit - multi + 1)) }
            #expect(client.sessionState.reconnections == 0)
        }
    }

    @Test(
        "A valid connect string is split into the servers and the chroot",
        arguments: [
            ("h:1", "h:1", ""), ("a-b.c_d:2181,10.0.0.1:1", "a-b.c_d:2181,10.0.0.1:1", ""),
            ("[::1]:2181,[fe80::1%eth0]:1/app/x", "[::1]:2181,[fe80::1%eth0]:1", "/app/x"), ("h:1/", "h:1", ""),
            ("h:1/\u{301}x", "h:1", "/\u{301}x"),
        ])
    func validServers(text: String, servers: String, chroot: String) throws {
        let list = try ServerList(parsing: text)
        #expect(list.servers == servers && list.chroot == chroot)
    }

    @Test(
        "An invalid connect string is refused",
        arguments: [
            "", "h", "h:", "h:0", "h:65536", "h:x", ":1", "h:1,", "h:1,,i:2", "::1:2181", "[]:1", "h:1/a/", "h:1//a",
            "h h:1", "h:1/../x", "h\0:1", "user@h:1",
        ])
    func invalidServers(text: String) { #expect(throws: ZooKeeperError.self) { try ServerList(parsing: text) } }

    @Test("Settings outside their limits are refused")
    func settingLimits() throws {
        let make = ZooKeeperConfiguration.init(
            servers:transport:followsReconfiguration:sessionTimeout:authentication:defaultACL:maximumInFlightRequests:
            maximumInFlightBytes:
            maximumQueuedRequests:
            requestTimeout:maximumRequestSize:)
        let good = try make("h:1", nil, true, .seconds(1), nil, .open, 1, 1_024, 1, .seconds(1), 1_024)
        for change: (inout ZooKeeperConfiguration) -> Void in [
            { $0.sessionTimeout = .zero }, { $0.sessionTimeout = .seconds(1e9) }, { $0.maximumInFlightRequests = 0 },
            { $0.maximumInFlightRequests = 4_097 }, { $0.maximumInFlightBytes = 0 }, { $0.maximumQueuedRequests = 0 },
            { $0.requestTimeout = .zero }, { $0.maximumRequestSize = 1_048_576 }, { $0.defaultACL = [] },
            { $0.authentication = .digest(user: "a", password: "b\0c") },
        ] {
            var bad = good
            change(&bad)
            #expect(throws: ZooKeeperError.self) { try ZooKeeperClient(configuration: bad) }
        }
    }

    @Test("A configuration can be created from a reader")
    func configurationReader() throws {
        let provider = InMemoryProvider(values: [
            "servers": "h:1/app", "sessionTimeoutSeconds": 4.5, "auth": "a:b", "maximumInFlightRequests": 7,
            "requestTimeoutSeconds": 3.0,
        ])
        let configuration = try ZooKeeperConfiguration(config: ConfigReader(provider: provider))
        #expect(configuration.servers == "h:1" && configuration.chroot == "/app")
        #expect(configuration.sessionTimeout == .milliseconds(4_500) && configuration.requestTimeout == .seconds(3))
        #expect(
            configuration.maximumInFlightRequests == 7
                && configuration.authentication == .digest(user: "a", password: "b"))
        #expect(configuration.maximumRequestSize == 512 << 10)
        let missing = ConfigReader(provider: InMemoryProvider(values: [:]))
        #expect(throws: (any Error).self) { try ZooKeeperConfiguration(config: missing) }
        let absurd = ConfigReader(
            provider: InMemoryProvider(values: ["servers": "h:1", "requestTimeoutSeconds": 1e300]))
        #expect(throws: ZooKeeperError.self) { try ZooKeeperConfiguration(config: absurd) }
    }

    @Test("Older configuration keys still work, and current keys take precedence")
    func olderConfigurationKeys() throws {
        let old: [AbsoluteConfigKey: ConfigValue] = [
            "servers": "h:1", "followsMembers": false, "inFlightWindow": 7, "inFlightBytes": 2_048,
            "maximumWaitingCalls": 9, "callDeadlineSeconds": 3.0,
        ]
        let configuration = try ZooKeeperConfiguration(config: ConfigReader(provider: InMemoryProvider(values: old)))
        #expect(!configuration.followsReconfiguration && configuration.maximumInFlightRequests == 7)
        #expect(configuration.maximumInFlightBytes == 2_048 && configuration.maximumQueuedRequests == 9)
        #expect(configuration.requestTimeout == .seconds(3))

        let both = old.merging([
            "followsReconfiguration": true, "maximumInFlightRequests": 8, "maximumInFlightBytes": 4_096,
            "maximumQueuedRequests": 10, "requestTimeoutSeconds": 4.0,
        ]) { $1 }
        let current = try ZooKeeperConfiguration(config: ConfigReader(provider: InMemoryProvider(values: both)))
        #expect(current.followsReconfiguration && current.maximumInFlightRequests == 8)
        #expect(current.maximumInFlightBytes == 4_096 && current.maximumQueuedRequests == 10)
        #expect(current.requestTimeout == .seconds(4))
    }

    @Test("Strings are compared by their bytes")
    func exactStrings() throws {
        let (composed, decomposed) = ("/caf\u{E9}", "/cafe\u{301}")
        #expect(composed == decomposed && !composed.isIdentical(to: decomposed))
        #expect(Set([ExactString(composed), ExactString(decomposed), ExactString(composed)]).count == 2)
        #expect(ExactString(decomposed) < ExactString(composed) && "/a".isIdentical(to: "x/a".dropFirst()))
        #expect(WatchKey(kind: .data, path: composed) != WatchKey(kind: .data, path: decomposed))
        let acls = [composed, decomposed].map { ZooKeeper.ACL(.all, scheme: "digest", id: $0) }
        #expect(acls[0] != acls[1] && Set(acls).count == 2)
        let users = [composed, decomposed].map { ZooKeeperConfiguration.Authentication.digest(user: $0, password: "") }
        #expect(users[0] != users[1] && Set(users).count == 2)
    }

    @Test("The chroot is removed from a path by its bytes", arguments: ["/x", "/\u{301}x", "/"])
    func chrootByBytes(path: String) throws {
        // U+0600 forms one grapheme cluster with the slash that follows it.
        let client = try ZooKeeperClient(configuration: .init(servers: "h:1/app\u{600}"))
        #expect(client.local(try client.full(path)).isIdentical(to: path))
    }

    @Test(
        "The parent of a path is found by its bytes",
        arguments: [
            ("/a", "/"), ("/a/b", "/a"), ("/a/\u{301}b", "/a"), ("/", nil), ("/a\u{600}/b", "/a\u{600}"),
        ])
    func parents(path: String, parent: String?) { #expect(NodePath.parent(of: path) == parent) }

    @Test("Durations are clamped to the range of 64-bit milliseconds")
    func clampedDurations() {
        #expect(Duration.seconds(Int64.max).milliseconds == .max)
        #expect(Duration.seconds(Int64.min).milliseconds == .min)
        #expect(Duration.milliseconds(1_999).milliseconds == 1_999)
    }

    @Test("Log lines of the C client are parsed, and only a limited number is kept")
    func cclientLog() {
        let line = CClientLog.parse("2026-01-01 00:00:00,000:1(0x7f):ZOO_ERROR@check@12: Socket 1: gone")
        #expect(line == .init(level: "ERROR", text: "Socket 1: gone"))
        #expect(CClientLog.parse("odd") == .init(level: "WARN", text: "odd"))
        let log = CClientLog()
        for index in 0..<1_000 { log.append(":ZOO_WARN@f@1: \(index)") }
        let (lines, dropped) = log.drain(limit: 10)
        #expect(lines.count == 10 && dropped == 990 && lines.first?.text == "0")
        #expect(log.drain(limit: 10).lines.isEmpty)
    }

    @Test("The backoff doubles up to its maximum, with full jitter")
    func exponentialBackoff() {
        var backoff = Backoff(base: .milliseconds(100), maximum: .seconds(10))
        #expect(backoff.next(random: { $0.upperBound }) == .milliseconds(100))
        #expect(backoff.next(random: { $0.upperBound }) == .milliseconds(200))
        for _ in 0..<100 { _ = backoff.next() }
        #expect(backoff.next(random: { $0.upperBound }) == .seconds(10))
        #expect(backoff.next(random: { $0.lowerBound }) == .zero)
        backoff.reset()
        #expect(backoff.next(random: { $0.upperBound }) == .milliseconds(100))
    }
}
