import Foundation
import HTTPTypes
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue

@testable import ZooKeeperGateway

/// `/queues/v1`: the queue for programs that speak HTTP.
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

    @Test func messagesAreSentLeasedAndSettled() async throws {
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
            let browsed = try await call(gateway, "GET", "/messages?limit=2")
            #expect(payloads(browsed.fields, "messages") == ["first", "one"])

            let taken = try await call(gateway, "POST", "/leases?count=10&seconds=60")
            let leases = taken.fields["leases"] as? [Fields] ?? []
            #expect(taken.status == 200 && payloads(taken.fields) == ["first", "one", "-", ""])
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

    @Test("Two queues whose names differ only in their bytes are two")
    func namesAreBytes() async throws {
        try await withGateway { gateway in
            let names = ["%C3%A9", "e%CC%81"]
            for name in names {
                #expect(try await gateway("POST", "/queues/v1/\(name)/messages", body: name).status == 201)
            }
            for name in names {
                let messages = try await gateway.json("GET", "/queues/v1/\(name)/messages").fields
                #expect(payloads(messages, "messages") == [name])
                let taken = try await gateway.json("POST", "/queues/v1/\(name)/leases?count=10").fields
                #expect(payloads(taken) == [name])
            }
            let list = try await gateway.json("GET", "/queues/v1").fields["queues"] as? [String]
            #expect(list?.map { Array($0.utf8) } == [Array("/e\u{301}".utf8), Array("/\u{E9}".utf8)])
            // A slash is one also with a combining mark behind it.
            #expect(try await gateway("GET", "/queues/v1/a%2F%CC%81b").status == 400)
        }
    }

    @Test("What counts against the limit is data, not its base64")
    func sizesAreOfData() async throws {
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

    @Test func bytesGoAsTheyAre() async throws {
        try await withGateway { gateway in
            for _ in 0..<2 {
                let headers = ["Content-Type": "text/plain", "Idempotency-Key": "order 42"]
                let answer = try await gateway(
                    "POST", "/queues/v1/a/b/messages?priority=7", headers: headers, body: "raw\u{0}")
                #expect(answer.status == 201)
            }
            let octets = ["Accept": "application/octet-stream"]
            let taken = try await gateway("POST", "/queues/v1/a/b/leases", headers: octets)
            #expect(taken.status == 200 && taken.body == "raw\u{0}" && taken.contentType == "application/octet-stream")
            func header(_ name: String) -> String {
                HTTPField.Name("X-Queue-\(name)").flatMap { taken.headers[$0] } ?? ""
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

    @Test func whoWaitsIsToldAsSoonAsThereIsAMessage() async throws {
        try await withGateway { gateway in
            #expect(try await call(gateway, "POST", "/leases?wait=1").status == 404, "no such queue")
            #expect(try await call(gateway, "POST", "/messages", "{\"messages\": []}").status == 201)
            _ = try await call(gateway, "POST", "/messages", "{\"messages\": [{\"payload\": \"x\"}]}")
            #expect(try await call(gateway, "DELETE", "/messages").fields["count"] as? Int == 1)
            let start = ContinuousClock.now
            let waiting = Task { payloads(try await call(gateway, "POST", "/leases?wait=30").fields) }
            let other = Task { payloads(try await call(gateway, "POST", "/leases?wait=30").fields) }
            // For both, or one would have both.
            for text in ["a", "b"] {
                _ = try await call(gateway, "POST", "/messages", "{\"messages\": [{\"payload\": \"\(text)\"}]}")
            }
            #expect(Set([try await waiting.value, try await other.value]) == [["a"], ["b"]])
            #expect(ContinuousClock.now - start < .seconds(15))
        }
    }

    @Test func aLeaseThatIsNotExtendedEnds() async throws {
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

    @Test func noMoreIsTakenThanWasAskedFor() async throws {
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

    @Test func whoHasGoneGetsNoMessage() async throws {
        try await withGateway { gateway in
            _ = try await call(gateway, "POST", "/messages", "{\"messages\": [{\"payload\": \"x\"}]}")
            #expect(try await call(gateway, "DELETE", "/messages").status == 200)
            let poll = "POST /queues/v1/queue/leases?wait=30&seconds=3600 HTTP/1.1\r\nHost: h\r\n\r\n"
            // It waits for less than half a second, and closes its connection.
            _ = try await gateway.raw(poll, within: .milliseconds(400))
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                // The gateway's consumer has nothing to wait for any more, and goes.
                for try await children in client.childrenUpdates(of: "/queue/consumers")
                where children?.names.isEmpty ?? true { break }
            }
            _ = try await call(gateway, "POST", "/messages", "{\"messages\": [{\"payload\": \"y\"}]}")
            let taken = try await call(gateway, "POST", "/leases?wait=10").fields["leases"] as? [Fields] ?? []
            #expect(taken.count == 1 && taken.first?["deliveryCount"] as? Int == 1)
        }
    }

    @Test func aLeaseCanBeMadeShorter() async throws {
        try await withGateway { gateway in
            _ = try await call(gateway, "POST", "/messages", "{\"messages\": [{\"payload\": \"x\"}]}")
            let taken = try await call(gateway, "POST", "/leases?seconds=3600").fields["leases"] as? [Fields] ?? []
            #expect(try await call(gateway, "POST", path(taken.first ?? [:], "extend") + "&seconds=1").status == 200)
            let again = try await call(gateway, "POST", "/leases?wait=20").fields["leases"] as? [Fields]
            #expect(again?.first?["deliveryCount"] as? Int == 2)
        }
    }

    @Test func leasesAreGivenBackWithTheGateway() async throws {
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

    @Test func whatIsWrongIsTold() async throws {
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
                ("GET", "/messages?limit=101", nil, 400),
            ] as [(String, String, String?, Int)] {
                let answer = try await call(gateway, method, path, body)
                #expect(answer.status == status, "\(method) \(path) \(body ?? "")")
                if status != 405 { #expect(answer.fields["error"] is String && answer.fields["message"] is String) }
            }
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                try await MessageQueue(client).creating(with: .init(capacity: .init(messages: 1))).prepare()
            }
            for status in [201, 429] {
                let answer = try await gateway("POST", "/queues/v1/queue/messages", body: "x")
                #expect(answer.status == status)
            }
        }
    }
}
