import Foundation
import HTTPTypes
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue

@testable import ZooKeeperGateway

/// Tests `/queues/v1`, the queue's interface over HTTP.
@Suite(.timeLimit(.minutes(1)))
struct QueueHTTPTests {
    private typealias Fields = [String: Any]

    private func call(
        _ gateway: TestGateway, _ method: String, _ path: String, _ body: String? = nil
    ) async throws -> (status: Int, fields: Fields) {
        let response = try await gateway(
            method, "/queues/v1/queue\(path)", headers: ["Content-Type": "application/json"], body: body)
        let object = try? JSONSerialization.jsonObject(with: Data(response.body.utf8))
        return (response.status, object as? Fields ?? [:])
    }

    private func payloads(_ fields: Fields, _ key: String = "leases") -> [String] {
        (fields[key] as? [Fields] ?? []).map { $0["payload"] as? String ?? "-" }
    }

    private func path(_ lease: Fields, _ action: String) -> String {
        "/leases/\(lease["lease"] as? String ?? "")/\(action)?token=\(lease["token"] as? String ?? "")"
    }

    @Test("Codes and fields keep the names that the interface has had from the first")
    func stableNames() async throws {
        try await withGateway { gateway in
            let missing = try await call(gateway, "GET", "")
            #expect(missing.status == 404 && missing.fields["error"] as? String == "queueMissing")
            _ = try await call(gateway, "POST", "/messages", #"{"messages": [{"payload": "x"}]}"#)
            let counts = try await call(gateway, "GET", "?age=true").fields
            for name in [
                "ready", "leased", "partial", "dead", "delayed", "consumers", "created", "oldestAgeSeconds",
                "paused",
            ] { #expect(counts[name] != nil, "\(name)") }
            let peeked = try await call(gateway, "GET", "/messages").fields["messages"] as? [Fields] ?? []
            let names = Set(peeked.first?.keys.map { $0 } ?? [])
            #expect(names == ["name", "priority", "deliveryCount", "enqueueTime", "headers", "payload"])
            let leased = try await call(gateway, "POST", "/leases").fields["leases"] as? [Fields] ?? []
            let lease = try #require(leased.first)
            #expect(Set(lease.keys) == names.union(["lease", "token", "seconds"]))
            #expect(try await call(gateway, "POST", path(lease, "dead-letter") + "&reason=r").status == 204)
            let dead = try await call(gateway, "GET", "/dead").fields["messages"] as? [Fields] ?? []
            #expect(Set(dead.first?.keys.map { $0 } ?? []) == ["name", "cause", "time", "headers", "payload"])
        }
    }

    @Test("The fields of delayed messages, consumers and leases keep their names")
    func stableNamesOfDelayedMessages() async throws {
        try await withGateway { gateway in
            let message = #"{"payload": "x", "headers": {"k": "v"}, "id": "i", "delayMilliseconds": 3600000}"#
            _ = try await call(gateway, "POST", "/messages", #"{"messages": [{"payload": "y"}, \#(message)]}"#)
            let delayed = try await delayed(gateway)
            let names: Set = ["name", "dueTime", "priority", "deliveryCount", "headers", "id", "payload"]
            #expect(delayed.count == 1 && Set(delayed[0].keys) == names)
            let counts = try await call(gateway, "GET", "").fields
            #expect(counts["nextDueTime"] as? Int == delayed[0]["dueTime"] as? Int && counts["nextDueTime"] != nil)
            let leased = try await call(gateway, "POST", "/leases").fields["leases"] as? [Fields] ?? []
            let consumers = try await call(gateway, "GET", "/consumers").fields["consumers"] as? [Fields] ?? []
            let consumer = try #require(consumers.first)
            #expect(consumers.count == 1 && Set(consumer.keys) == ["name", "alive", "registrationTime", "leases"])
            #expect(consumer["alive"] as? Bool == true && consumer["registrationTime"] is Int)
            let leases = consumer["leases"] as? [Fields] ?? []
            #expect(leases.count == 1 && Set(leases[0].keys) == ["name", "claimTime"] && leases[0]["claimTime"] is Int)
            #expect(leases.first?["name"] as? String == leased.first?["name"] as? String)
        }
    }

    // MARK: Groups

    @Test("Messages of a group are leased one after the other")
    func groups() async throws {
        try await withGateway { gateway in
            let body =
                #"{"messages": [{"payload": "1", "group": "g"}, {"payload": "2", "group": "g"}, {"payload": "x"}]}"#
            #expect(try await call(gateway, "POST", "/messages", body).status == 201)
            #expect(try await gateway("POST", "/queues/v1/queue/messages?group=g", body: "3").status == 201)
            #expect(try await call(gateway, "GET", "").fields["groups"] as? Int == 1)
            for expected in [["1", "x"], ["2"], ["3"], []] {
                let leases = try await call(gateway, "POST", "/leases?count=10").fields["leases"] as? [Fields] ?? []
                #expect(leases.map { $0["payload"] as? String ?? "" } == expected)
                for lease in leases {
                    #expect(lease["group"] as? String == (lease["payload"] as? String == "x" ? nil : "g"))
                    #expect(try await call(gateway, "POST", path(lease, "acknowledge")).status == 204)
                }
            }
            #expect(try await call(gateway, "GET", "").fields["groups"] as? Int == 0)
            let delayed = #"{"messages": [{"payload": "1", "group": "g", "delayMilliseconds": 5}]}"#
            #expect(try await call(gateway, "POST", "/messages", delayed).status == 400)
            #expect(try await gateway("POST", "/queues/v1/queue/messages?group=", body: "3").status == 400)
        }
    }

    // MARK: Delayed messages

    private func delayed(_ gateway: TestGateway, _ query: String = "") async throws -> [Fields] {
        let response = try await call(gateway, "GET", "/delayed" + query)
        #expect(response.status == 200)
        return response.fields["messages"] as? [Fields] ?? []
    }

    private static let hour = 3_600_000

    @Test("Delayed messages are listed by due time, made ready and cancelled")
    func delayedMessages() async throws {
        try await withGateway { gateway in
            let before = Int(Date().timeIntervalSince1970 * 1_000)
            let dueTime = before + 3 * Self.hour
            let sent = try await call(
                gateway, "POST", "/messages",
                """
                {"messages": [{"payload": "third", "deliverAt": \(dueTime)}, {"payload": "now", "delayMilliseconds": 0},
                              {"payloadBase64": "AP8=", "priority": 7, "delayMilliseconds": \(Self.hour)},
                              {"payload": "past", "deliverAt": 1}]}
                """)
            #expect(sent.status == 201)
            let raw = try await gateway(
                "POST", "/queues/v1/queue/messages?delayMilliseconds=\(2 * Self.hour)", body: "second")
            #expect(raw.status == 201)
            let rawAtTime = try await gateway(
                "POST", "/queues/v1/queue/messages?deliverAt=\(dueTime + 1)", body: "fourth")
            #expect(rawAtTime.status == 201)

            let messages = try await delayed(gateway)
            #expect(messages.map { $0["payload"] as? String } == [nil, "second", "third", "fourth"])
            #expect(messages[0]["payloadBase64"] as? String == "AP8=" && messages[0]["priority"] as? Int == 7)
            let dueTimes = messages.map { $0["dueTime"] as? Int ?? 0 }
            #expect(dueTimes[2...] == [dueTime, dueTime + 1])
            // Never early, and no more than a minute late.
            for (index, dueTime) in dueTimes.prefix(2).enumerated() {
                #expect((0..<60_000).contains(dueTime - before - (index + 1) * Self.hour), "\(dueTime)")
            }
            #expect(try await delayed(gateway, "?limit=2").count == 2)
            let counts = try await call(gateway, "GET", "").fields
            #expect(counts["delayed"] as? Int == 4 && counts["ready"] as? Int == 2)
            #expect(counts["nextDueTime"] as? Int == dueTimes[0] && counts["retrying"] as? Int == 0)

            let names = messages.map { $0["name"] as? String ?? "" }
            #expect(try await call(gateway, "POST", "/delayed/\(names[0])/run-now").status == 204)
            #expect(try await call(gateway, "DELETE", "/delayed/\(names[1])").status == 204)
            for name in names.prefix(2) {
                for (method, path) in [("POST", "/delayed/\(name)/run-now"), ("DELETE", "/delayed/\(name)")] {
                    let response = try await call(gateway, method, path)
                    #expect(response.status == 404 && response.fields["error"] as? String == "notFound", "\(path)")
                }
            }
            let leased = try await call(gateway, "POST", "/leases?count=10")
            #expect(payloads(leased.fields) == ["-", "now", "past"])
            #expect(try await delayed(gateway).map { $0["name"] as? String } == [names[2], names[3]])
        }
    }

    @Test("A message is looked up by its name and by its ID, moved to another priority, and deleted")
    func oneMessage() async throws {
        try await withGateway { gateway in
            let body = #"{"messages": [{"payload": "a", "id": "x y"}, {"payload": "b", "id": "b"}]}"#
            let sent = try await call(gateway, "POST", "/messages", body).fields["messages"] as? [Fields] ?? []
            let name = try #require(sent.first?["name"] as? String)
            let ready = try await call(gateway, "GET", "/ids/x%20y").fields
            #expect(ready["place"] as? String == "ready" && ready["name"] as? String == name)
            #expect(ready["payload"] as? String == "a" && ready["redeliveries"] as? Int == 0)
            #expect(try await call(gateway, "POST", "/messages/\(name)/move").status == 400)
            let newName = try await call(gateway, "POST", "/messages/\(name)/move?priority=5").fields["name"] as? String
            #expect(try await call(gateway, "GET", "/messages/\(name)").status == 404)
            let moved = try await call(gateway, "GET", "/ids/x%20y").fields
            #expect(moved["priority"] as? Int == 5 && moved["name"] as? String == newName)
            _ = try await call(gateway, "POST", "/leases?seconds=600")
            let leased = try await call(gateway, "GET", "/ids/x%20y").fields
            #expect(leased["place"] as? String == "leased" && leased["claimTime"] as? Int != nil, "\(leased)")
            let deleted = try await call(gateway, "DELETE", "/ids/x%20y")
            #expect(deleted.status == 200 && deleted.fields["place"] as? String == "leased")
            #expect(try await call(gateway, "DELETE", "/ids/x%20y").status == 404)
            let lease = (try await call(gateway, "POST", "/leases").fields["leases"] as? [Fields])?.first
            #expect(try await call(gateway, "POST", path(try #require(lease), "acknowledge")).status == 204)
            #expect(try await call(gateway, "GET", "/ids/b").fields as? [String: String] == ["place": "finished"])
            #expect(try await call(gateway, "GET", "/messages/x").status == 400)
        }
    }

    @Test("A message is requeued with a delay, and keeps its lease when the delay is invalid")
    func requeueWithDelay() async throws {
        try await withGateway { gateway in
            _ = try await call(gateway, "POST", "/messages", #"{"messages": [{"payload": "x"}]}"#)
            let leases = try await call(gateway, "POST", "/leases").fields["leases"] as? [Fields] ?? []
            let giveBack = path(try #require(leases.first), "give-back")
            for delay in ["-1", "x", "315619200001", "99999999999999999999"] {
                let response = try await call(gateway, "POST", giveBack + "&delayMilliseconds=\(delay)")
                #expect(response.status == 400 && response.fields["error"] as? String == "invalidArgument", "\(delay)")
            }
            #expect(try await call(gateway, "POST", giveBack + "&delayMilliseconds=\(Self.hour)").status == 204)
            let counts = try await call(gateway, "GET", "").fields
            #expect(counts["ready"] as? Int == 0 && counts["leased"] as? Int == 0 && counts["delayed"] as? Int == 1)
            #expect(counts["retrying"] as? Int == 1)
            let message = try #require(try await delayed(gateway).first)
            #expect(message["deliveryCount"] as? Int == 2 && message["payload"] as? String == "x")
            #expect(try await call(gateway, "POST", "/delayed/\(message["name"] ?? "")/run-now").status == 204)
            let again = try await call(gateway, "POST", "/leases").fields["leases"] as? [Fields] ?? []
            #expect(again.first?["deliveryCount"] as? Int == 2)
            #expect(again.first?["name"] as? String == "item-100-0000000000.1")
        }
    }

    @Test("An invalid delay, due time or name of a delayed message is refused, and nothing is stored")
    func invalidDelays() async throws {
        try await withGateway { gateway in
            #expect(try await call(gateway, "POST", "/messages", #"{"messages": []}"#).status == 201)
            func message(_ fields: String) -> String {
                #"{"messages": [{"payload": "ok"}, {"payload": "x", \#(fields)}]}"#
            }
            for (method, path, body) in [
                ("POST", "/messages", message(#""delayMilliseconds": -1"#)),
                ("POST", "/messages", message(#""delayMilliseconds": 315619200001"#)),
                ("POST", "/messages", message(#""delayMilliseconds": 9223372036854775807"#)),
                ("POST", "/messages", message(#""delayMilliseconds": 1.5"#)),
                ("POST", "/messages", message(#""delayMilliseconds": "5""#)),
                ("POST", "/messages", message(#""delay": 5"#)),
                ("POST", "/messages", message(#""deliverAt": 9223372036854775807"#)),
                ("POST", "/messages", message(#""deliverAt": 1, "delayMilliseconds": 1"#)),
                ("POST", "/delayed/x/run-now", nil), ("DELETE", "/delayed/x", nil), ("DELETE", "/delayed/%00", nil),
                ("DELETE", "/delayed/%3Cb%3E-item-100-0000000000", nil), ("GET", "/delayed?limit=0", nil),
                ("GET", "/delayed?limit=101", nil),
            ] as [(String, String, String?)] {
                let response = try await call(gateway, method, path, body)
                #expect(response.status == 400, "\(method) \(path) \(body ?? "")")
                #expect(
                    response.fields["error"] as? String == "invalidArgument" && response.fields["message"] is String)
            }
            for query in [
                "delayMilliseconds=-1", "delayMilliseconds=1e3", "delayMilliseconds=", "delayMilliseconds=1.5",
                "delayMilliseconds=99999999999999999999", "deliverAt=x", "deliverAt=10000000000000",
                "deliverAt=1&delayMilliseconds=1",
            ] {
                let response = try await gateway("POST", "/queues/v1/queue/messages?\(query)", body: "x")
                #expect(response.status == 400, "\(query)")
            }
            #expect(try await delayed(gateway).isEmpty)
            // Not even the queue was created.
            #expect(try await call(gateway, "GET", "").status == 404)
            #expect(try await gateway("GET", "/queues/v1/missing/consumers").status == 404)
            let missing = "/queues/v1/missing/delayed/4000000000000-item-100-0000000000"
            #expect(try await gateway("POST", missing + "/run-now").status == 404)
            #expect(try await gateway("DELETE", missing).status == 404)
        }
    }

    // MARK: Expiry

    @Test("A message expires after a time or at a time, and each list of messages says when")
    func expiry() async throws {
        try await withGateway { gateway in
            let time = 4_102_444_800_000
            let sent = try await call(
                gateway, "POST", "/messages",
                """
                {"messages": [{"payload": "first"}, {"payload": "past", "expiresAt": 1},
                              {"payload": "second", "expiresAt": \(time)},
                              {"payload": "later", "delayMilliseconds": \(Self.hour),
                               "expiresAfterMilliseconds": \(2 * Self.hour)}]}
                """)
            #expect(sent.status == 201)
            for query in ["expiresAt=\(time + 1)", "expiresAfterMilliseconds=\(Self.hour)"] {
                let raw = try await gateway("POST", "/queues/v1/queue/messages?\(query)", body: "raw")
                #expect(raw.status == 201)
            }
            func expiries(_ messages: [Fields]) -> [Int?] { messages.map { $0["expiresAt"] as? Int } }
            let peeked = try await call(gateway, "GET", "/messages").fields["messages"] as? [Fields] ?? []
            try #require(peeked.count == 5)
            #expect(expiries(peeked).dropLast() == [nil, 1, time, time + 1] && expiries(peeked)[4] != nil)
            let message = try #require(try await delayed(gateway).first)
            let lifetime = (message["expiresAt"] as? Int ?? 0) - (message["dueTime"] as? Int ?? 0)
            #expect(((Self.hour - 1_000)...(Self.hour + 1_000)).contains(lifetime), "\(lifetime)")

            let leased = try await call(gateway, "POST", "/leases?count=10").fields
            let leases = leased["leases"] as? [Fields] ?? []
            try #require(payloads(leased) == ["first", "second", "raw", "raw"])
            #expect(expiries(leases) == [nil, time, time + 1, expiries(peeked)[4]])
            // The expired message is settled in the same transaction, or an earlier one.
            #expect(try await call(gateway, "POST", path(leases[0], "acknowledge")).status == 204)
            let dead = try await call(gateway, "GET", "/dead").fields["messages"] as? [Fields] ?? []
            #expect(dead.map { $0["cause"] as? String } == ["expired"] && expiries(dead) == [1])
        }
    }

    @Test("An invalid expiry is refused, and nothing is stored")
    func invalidExpiry() async throws {
        try await withGateway { gateway in
            for (name, value) in [
                ("expiresAfterMilliseconds", "0"), ("expiresAfterMilliseconds", "-1"),
                ("expiresAfterMilliseconds", "631238400001"), ("expiresAfterMilliseconds", "1.5"),
                ("expiresAfterMilliseconds", "9223372036854775808"), ("expiresAt", "x"),
                ("expiresAt", "5&expiresAfterMilliseconds=5"), ("expiresAt", "5&deliverAt=5"),
                ("expiresAfterMilliseconds", "5&delayMilliseconds=5"),
            ] {
                let query = "\(name)=\(value)"
                let raw = try await gateway("POST", "/queues/v1/queue/messages?\(query)", body: "x")
                #expect(raw.status == 400 && raw.body.contains("invalidArgument"), "\(query)")
                let fields = query.split(separator: "&").map { $0.split(separator: "=") }
                let body = fields.map { #""\#($0[0])": \#($0[1])"# }.joined(separator: ", ")
                let json = #"{"messages": [{"payload": "ok"}, {"payload": "x", \#(body)}]}"#
                let response = try await call(gateway, "POST", "/messages", json)
                #expect(response.status == 400 && response.fields["error"] as? String == "invalidArgument", "\(json)")
            }
            // Not even the queue was created.
            #expect(try await call(gateway, "GET", "").status == 404)
        }
    }

    // MARK: Pausing

    @Test("A paused queue refuses messages and leases none until it is resumed")
    func pause() async throws {
        try await withGateway { gateway in
            _ = try await call(gateway, "POST", "/messages", #"{"messages": [{"payload": "x"}]}"#)
            #expect(try await call(gateway, "POST", "/pause").fields["paused"] as? [String] == ["consume", "send"])
            let refused = try await gateway("POST", "/queues/v1/queue/messages", body: "y")
            #expect(refused.status == 503 && refused.headers[.retryAfter] == "1")
            #expect(refused.body.contains(#""error":"paused""#), "\(refused.body)")
            let leases = try await call(gateway, "POST", "/leases")
            #expect(leases.status == 200 && payloads(leases.fields).isEmpty)

            let resumed = try await call(gateway, "POST", "/resume", #"{"activities": ["send"]}"#)
            #expect(resumed.status == 200 && resumed.fields["paused"] as? [String] == ["consume"])
            #expect(try await call(gateway, "GET", "").fields["paused"] as? [String] == ["consume"])
            #expect(try await gateway("POST", "/queues/v1/queue/messages", body: "y").status == 201)
            let waiting = Task { payloads(try await call(gateway, "POST", "/leases?wait=30").fields) }
            #expect(try await call(gateway, "POST", "/resume", "{}").fields["paused"] as? [String] == [])
            #expect(try await waiting.value == ["x"])
        }
    }

    @Test("Messages are sent, peeked at, leased, settled and redriven")
    func messageLifecycle() async throws {
        try await withGateway { gateway in
            let sent = try await call(
                gateway, "POST", "/messages",
                """
                {"messages": [{"payload": "one"}, {"payloadBase64": "AP8="}, {"payload": "first", "priority": 1},
                              {"payload": "", "headers": {"k": "v"}, "id": "i"}]}
                """)
            #expect(sent.status == 201)
            let names = (sent.fields["messages"] as? [Fields] ?? []).map { $0["name"] as? String }
            #expect(
                names == ["item-100-0000000000", "item-100-0000000001", "item-001-0000000002", "item-100-0000000003"])
            let peeked = try await call(gateway, "GET", "/messages?limit=2")
            #expect(payloads(peeked.fields, "messages") == ["first", "one"])

            let leased = try await call(gateway, "POST", "/leases?count=10&seconds=60")
            let leases = leased.fields["leases"] as? [Fields] ?? []
            #expect(leased.status == 200 && payloads(leased.fields) == ["first", "one", "-", ""])
            #expect(leases[2]["payloadBase64"] as? String == "AP8=" && leases[2]["payload"] == nil)
            #expect(leases[3]["headers"] as? [String: String] == ["k": "v"] && leases[3]["id"] as? String == "i")
            #expect(payloads(try await call(gateway, "POST", "/leases?count=10").fields).isEmpty)
            #expect(try await call(gateway, "GET", "").fields["leased"] as? Int == 4)

            #expect(try await call(gateway, "POST", path(leases[0], "extend") + "&seconds=100").status == 200)
            #expect(try await call(gateway, "POST", path(leases[0], "acknowledge")).status == 204)
            #expect(try await call(gateway, "POST", path(leases[0], "acknowledge")).status == 404)
            #expect(try await call(gateway, "POST", path(leases[1], "give-back")).status == 204)
            #expect(try await call(gateway, "POST", path(leases[2], "dead-letter") + "&reason=bad").status == 204)
            var wrong = leases[3]
            wrong["token"] = "1"
            #expect(try await call(gateway, "POST", path(wrong, "acknowledge")).status == 404)
            #expect(try await call(gateway, "POST", path(leases[3], "acknowledge")).status == 204)

            let dead = try await call(gateway, "GET", "/dead").fields["messages"] as? [Fields] ?? []
            #expect(dead.count == 1 && dead[0]["cause"] as? String == "bad")
            #expect(try await call(gateway, "POST", "/dead/\(dead[0]["name"] ?? "")/redrive").status == 204)
            #expect(try await call(gateway, "POST", "/dead/item-100-0000000009/redrive").status == 404)
            let again = try await call(gateway, "POST", "/leases?count=2").fields["leases"] as? [Fields] ?? []
            #expect(again.map { $0["deliveryCount"] as? Int } == [2, 1])
            for lease in again { #expect(try await call(gateway, "POST", path(lease, "dead-letter")).status == 204) }
            #expect(try await call(gateway, "POST", "/dead/redrive").fields["count"] as? Int == 2)
            #expect(try await call(gateway, "DELETE", "/messages").fields["count"] as? Int == 2)
            #expect(try await call(gateway, "DELETE", "/dead").fields["count"] as? Int == 0)
        }
    }

    @Test("Queue paths that are equal as strings, but not as bytes, are two queues")
    func pathsAreBytes() async throws {
        try await withGateway { gateway in
            let names = ["%C3%A9", "e%CC%81"]
            for name in names {
                #expect(try await gateway("POST", "/queues/v1/\(name)/messages", body: name).status == 201)
            }
            for name in names {
                let messages = try await gateway.json("GET", "/queues/v1/\(name)/messages").fields
                #expect(payloads(messages, "messages") == [name])
                let leased = try await gateway.json("POST", "/queues/v1/\(name)/leases?count=10").fields
                #expect(payloads(leased) == [name])
            }
            let list = try await gateway.json("GET", "/queues/v1").fields["queues"] as? [String]
            #expect(list?.map { Array($0.utf8) } == [Array("/e\u{301}".utf8), Array("/\u{E9}".utf8)])
            // A slash stays a slash when a combining mark follows it.
            #expect(try await gateway("GET", "/queues/v1/a%2F%CC%81b").status == 400)
        }
    }

    @Test("The size limit counts the data, not its base64")
    func sizeLimit() async throws {
        try await withGateway { gateway in
            func send(_ bytes: Int) async throws -> (status: Int, fields: Fields) {
                let payload = Data(repeating: 0xFF, count: bytes).base64EncodedString()
                let body = #"{"messages": [{"payloadBase64": "\#(payload)"}]}"#
                return try await call(gateway, "POST", "/messages", body)
            }
            #expect(try await send(510_000).status == 201)
            let refused = try await send((512 << 10) + 1)
            #expect(refused.status == 413 && refused.fields["error"] as? String == "payloadTooLarge")
            #expect((refused.fields["message"] as? String)?.contains("524288") == true)
        }
    }

    @Test("A raw body is delivered unchanged, and stored once for one Idempotency-Key")
    func rawBody() async throws {
        try await withGateway { gateway in
            for _ in 0..<2 {
                let headers = ["Content-Type": "text/plain", "Idempotency-Key": "order 42"]
                let response = try await gateway(
                    "POST", "/queues/v1/a/b/messages?priority=7", headers: headers, body: "raw\u{0}")
                #expect(response.status == 201)
            }
            let octets = ["Accept": "application/octet-stream"]
            let leased = try await gateway("POST", "/queues/v1/a/b/leases", headers: octets)
            #expect(
                leased.status == 200 && leased.body == "raw\u{0}" && leased.contentType == "application/octet-stream")
            func header(_ name: String) -> String {
                HTTPField.Name("X-Queue-\(name)").flatMap { leased.headers[$0] } ?? ""
            }
            #expect(header("Priority") == "7" && header("Delivery-Count") == "1")
            #expect(try await gateway("POST", "/queues/v1/a/b/leases", headers: octets).status == 204)
            let path = "/queues/v1/a/b/leases/\(header("Lease"))/acknowledge?token=\(header("Fencing-Token"))"
            #expect(try await gateway("POST", path).status == 204)
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                let ready = try await MessageQueue(client, path: "/a/b").statistics().ready
                #expect(ready == 0)
            }
        }
    }

    @Test("A waiting request gets a message as soon as one is sent")
    func waitForMessage() async throws {
        try await withGateway { gateway in
            #expect(try await call(gateway, "POST", "/leases?wait=1").status == 404, "The queue does not exist yet.")
            #expect(try await call(gateway, "POST", "/messages", "{\"messages\": []}").status == 201)
            _ = try await call(gateway, "POST", "/messages", "{\"messages\": [{\"payload\": \"x\"}]}")
            #expect(try await call(gateway, "DELETE", "/messages").fields["count"] as? Int == 1)
            let start = ContinuousClock.now
            let waiting = Task { payloads(try await call(gateway, "POST", "/leases?wait=30").fields) }
            let other = Task { payloads(try await call(gateway, "POST", "/leases?wait=30").fields) }
            // One message for each waiting request.
            for text in ["a", "b"] {
                _ = try await call(gateway, "POST", "/messages", "{\"messages\": [{\"payload\": \"\(text)\"}]}")
            }
            #expect(Set([try await waiting.value, try await other.value]) == [["a"], ["b"]])
            #expect(ContinuousClock.now - start < .seconds(15))
        }
    }

    @Test("A lease that is not extended expires, and its message is redelivered")
    func leaseExpiry() async throws {
        try await withGateway { gateway in
            _ = try await call(gateway, "POST", "/messages", "{\"messages\": [{\"payload\": \"x\"}]}")
            let first =
                (try await call(gateway, "POST", "/leases?seconds=1").fields["leases"] as? [Fields])?.first ?? [:]
            let second = try await call(gateway, "POST", "/leases?wait=20&seconds=60").fields["leases"] as? [Fields]
            #expect(second?.first?["deliveryCount"] as? Int == 2)
            for action in ["acknowledge", "extend", "give-back", "dead-letter"] {
                #expect(try await call(gateway, "POST", path(first, action)).status == 404)
            }
            #expect(try await call(gateway, "POST", path(second?.first ?? [:], "acknowledge")).status == 204)
        }
    }

    @Test("A request leases no more messages than it asks for, and no more than the limit")
    func leaseLimits() async throws {
        try await withGateway(configure: { $0.maximumLeases = 3 }) { gateway in
            let many = (0..<10).map { "{\"payload\": \"\($0)\"}" }.joined(separator: ",")
            _ = try await call(gateway, "POST", "/messages", "{\"messages\": [\(many)]}")
            #expect(try await call(gateway, "POST", "/leases?count=2").status == 200)
            let counts = try await call(gateway, "GET", "").fields
            #expect(counts["leased"] as? Int == 2 && counts["ready"] as? Int == 8)
            #expect(try await call(gateway, "POST", "/leases?count=2").status == 429)
            #expect(try await call(gateway, "POST", "/leases?count=1").status == 200)
        }
    }

    @Test("A client that closes its connection while it waits gets no message")
    func disconnectedClient() async throws {
        try await withGateway { gateway in
            _ = try await call(gateway, "POST", "/messages", "{\"messages\": [{\"payload\": \"x\"}]}")
            #expect(try await call(gateway, "DELETE", "/messages").status == 200)
            let poll = "POST /queues/v1/queue/leases?wait=30&seconds=3600 HTTP/1.1\r\nHost: h\r\n\r\n"
            // The client waits for less than half a second, and then closes its connection.
            _ = try await gateway.raw(poll, within: .milliseconds(400))
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                // The gateway's consumer leaves the tree, because no request waits any more.
                for try await children in client.childrenUpdates(of: "/queue/consumers")
                where children?.names.isEmpty ?? true { break }
            }
            _ = try await call(gateway, "POST", "/messages", "{\"messages\": [{\"payload\": \"y\"}]}")
            let leases = try await call(gateway, "POST", "/leases?wait=10").fields["leases"] as? [Fields] ?? []
            #expect(leases.count == 1 && leases.first?["deliveryCount"] as? Int == 1)
        }
    }

    @Test("Extending a lease can shorten it")
    func shortenedLease() async throws {
        try await withGateway { gateway in
            _ = try await call(gateway, "POST", "/messages", "{\"messages\": [{\"payload\": \"x\"}]}")
            let leases = try await call(gateway, "POST", "/leases?seconds=3600").fields["leases"] as? [Fields] ?? []
            #expect(try await call(gateway, "POST", path(leases.first ?? [:], "extend") + "&seconds=1").status == 200)
            let again = try await call(gateway, "POST", "/leases?wait=20").fields["leases"] as? [Fields]
            #expect(again?.first?["deliveryCount"] as? Int == 2)
        }
    }

    @Test("The gateway requeues its leased messages when it shuts down")
    func leasesAtShutdown() async throws {
        let addresses = Received()
        try await withGateway { gateway in
            addresses.append(gateway.address)
            _ = try await call(gateway, "POST", "/messages", "{\"messages\": [{\"payload\": \"x\"}]}")
            #expect(try await call(gateway, "POST", "/leases?seconds=3600").status == 200)
        }
        try await ZooKeeperClient.withClient(configuration: .init(servers: addresses.text)) { client in
            let statistics = try await MessageQueue(client).statistics()
            #expect(statistics.ready == 1 && statistics.leased == 0 && statistics.consumers == 0)
        }
    }

    @Test("A refused request gets a status, an error code and a message")
    func refusedRequests() async throws {
        try await withGateway(configure: { $0.maximumQueues = 2 }) { gateway in
            for (method, path, body, status) in [
                ("POST", "/messages", "{", 400), ("POST", "/messages", "{\"messages\": [{}]}", 400),
                ("POST", "/messages", "{\"messages\": [{\"payload\": \"x\", \"payloadBase64\": \"x\"}]}", 400),
                ("POST", "/messages", "{\"messages\": [{\"payloadBase64\": \"!\"}]}", 400),
                ("POST", "/messages", "{\"messages\": [{\"payload\": \"x\", \"priority\": 1000}]}", 400),
                ("POST", "/messages", "{\"messages\": [{\"payload\": \"x\", \"id\": \"\"}]}", 400),
                ("POST", "/messages", "{\"messages\": [{\"payload\": \"x\", \"prio\": 1}]}", 400),
                ("GET", "?age=x", nil, 400),
                ("POST", "/leases?count=0", nil, 400), ("POST", "/leases?wait=100", nil, 400),
                ("POST", "/leases?seconds=x", nil, 400), ("GET", "", nil, 404), ("GET", "/messages", nil, 404),
                ("PUT", "/messages", "x", 405), ("POST", "/../messages", "x", 400),
                ("POST", "/%2e%2e/messages", "x", 400),
                ("POST", "/a%2Fb/messages", "x", 400), ("POST", "//messages", "x", 400),
                ("POST", "/leases/x/acknowledge?token=1", nil, 404), ("GET", "/x", nil, 404), ("GET", "/y", nil, 404),
                ("GET", "/messages?limit=101", nil, 400), ("POST", "/pause", nil, 404), ("POST", "/resume", "{", 400),
                ("POST", "/pause", #"{"activities": ["sleep"]}"#, 400), ("POST", "/pause", #"{"all": true}"#, 400),
                ("POST", "/consumers/leases/item-100-2000000000/release", nil, 404),
            ] as [(String, String, String?, Int)] {
                let response = try await call(gateway, method, path, body)
                #expect(response.status == status, "\(method) \(path) \(body ?? "")")
                if status != 405 { #expect(response.fields["error"] is String && response.fields["message"] is String) }
            }
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                try await MessageQueue(client).creating(with: .init(capacity: .init(messages: 1))).prepare()
            }
            for status in [201, 429] {
                let response = try await gateway("POST", "/queues/v1/queue/messages", body: "x")
                #expect(response.status == status)
            }
        }
    }

    @Test("A valid trace context of a request travels with its messages, and one that a message has already stays")
    func traceContext() async throws {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        try await withGateway { gateway in
            func headers(_ traceparent: String, _ body: String, json: Bool) async throws -> [String: String]? {
                var fields = ["traceparent": traceparent, "tracestate": "vendor=1"]
                if json { fields["Content-Type"] = "application/json" }
                let sent = try await gateway("POST", "/queues/v1/t/messages", headers: fields, body: body)
                #expect(sent.status == 201)
                let leased = try await gateway.json("POST", "/queues/v1/t/leases")
                let message = try #require((leased.fields["leases"] as? [[String: Any]])?.first)
                let (lease, token) = (message["lease"] ?? "", message["token"] ?? "")
                _ = try await gateway("POST", "/queues/v1/t/leases/\(lease)/acknowledge?token=\(token)")
                return message["headers"] as? [String: String]
            }
            let carried = ["traceparent": parent, "tracestate": "vendor=1"]
            #expect(try await headers(parent, "raw", json: false) == carried)
            let json = #"{"messages": [{"payload": "x", "headers": {"a": "b"}}]}"#
            #expect(try await headers(parent, json, json: true) == carried.merging(["a": "b"]) { $1 })
            let own = #"{"messages": [{"payload": "x", "headers": {"traceparent": "own", "tracestate": "own"}}]}"#
            #expect(try await headers(parent, own, json: true) == ["traceparent": "own", "tracestate": "own"])
            for invalid in [
                "", "x", parent + "-00", "ff" + parent.dropFirst(2), parent.uppercased(),
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            ] {
                let found = try await headers(invalid, "raw", json: false)
                #expect(found == [:], "\(invalid)")
            }
            let later = try await headers("cc" + parent.dropFirst(2) + "-0a", "raw", json: false)
            #expect(later?.count == 2)
        }
    }
}
