import HTTPTypes
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperServer

@testable import ZooKeeperGateway

/// Tests the health, the metrics and the dashboard.
@Suite(.timeLimit(.minutes(1)))
struct OperationsTests {
    @Test("The health paths report whether the ensemble responds")
    func health() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            let zookeeper = try ZooKeeperConfiguration(servers: ensemble.connectString, sessionTimeout: .seconds(5))
            try await withGateway(
                endpoints: [.init(zookeeper: zookeeper)],
                configure: {
                    $0.responseTimeout = .seconds(1)
                    $0.users = ["u": "p"]
                }
            ) { gateway in
                for path in ["/health/live", "/health/ready"] {
                    let response = try await gateway("GET", path)
                    #expect(response.status == 200 && response.contentType == "text/plain")
                }
                let health = try await gateway.json("GET", "/health")
                #expect(health.status == 200 && health.fields["status"] as? String == "ready")
                #expect(health.fields["version"] as? String == "unknown")
                // Unlike the health paths, the metrics require a user.
                #expect(try await gateway("GET", "/metrics").status == 401)
                await ensemble.kill(0)
                var status = 200
                while status == 200 { status = try await gateway("GET", "/health/ready").status }
                #expect(status == 503)
                let bad = try await gateway.json("GET", "/health")
                #expect(bad.status == 503 && bad.fields["status"] as? String == "unavailable")
                #expect(try await gateway("GET", "/health/live").status == 200)
            }
        }
    }

    @Test("The metrics count requests and messages")
    func metrics() async throws {
        try await withGateway { gateway in
            #expect(try await gateway("POST", "/queues/v1/a%22b/messages", body: "x").status == 201)
            let delayed = "/queues/v1/a%22b/messages?delayMilliseconds=3600000"
            #expect(try await gateway("POST", delayed, body: "x").status == 201)
            let consuming = #"{"activities": ["consume"]}"#
            #expect(try await gateway("POST", "/queues/v1/a%22b/pause", body: consuming).status == 200)
            #expect(try await gateway("GET", "/nowhere").status == 404)
            let text = try await gateway("GET", "/metrics").body
            for line in [
                "zookeeper_gateway_requests_total{status=\"2xx\"} 3",
                "zookeeper_gateway_requests_total{status=\"4xx\"} 1",
                "zookeeper_gateway_connected{endpoint=\"/\"} 1", "zookeeper_gateway_sessions{endpoint=\"/\"} 0",
                "zookeeper_queue_messages{endpoint=\"/\",queue=\"/a\\\"b\",state=\"ready\"} 1",
                "zookeeper_queue_messages{endpoint=\"/\",queue=\"/a\\\"b\",state=\"delayed\"} 1",
                "zookeeper_queue_paused{activity=\"send\",endpoint=\"/\",queue=\"/a\\\"b\"} 0",
                "zookeeper_queue_paused{activity=\"consume\",endpoint=\"/\",queue=\"/a\\\"b\"} 1",
                "# TYPE zookeeper_queue_sent_total counter",
                "zookeeper_queue_sent_total{endpoint=\"/\",queue=\"/a\\\"b\"} 2",
                "# TYPE zookeeper_queue_send_duration_seconds histogram",
                "zookeeper_queue_send_duration_seconds_count{endpoint=\"/\",queue=\"/a\\\"b\"} 2",
                "zookeeper_queue_batch_size_bucket{endpoint=\"/\",le=\"1\",queue=\"/a\\\"b\"} 2",
            ] { #expect(text.contains(line + "\n"), "\(text)") }
            let types = text.split(separator: "\n").filter { $0.hasPrefix("# TYPE") }
            #expect(Set(types).count == types.count)
            #expect(try await gateway("POST", "/metrics").status == 405)
        }
    }

    @Test("Every response has a Date header in HTTP's format")
    func dateHeader() async throws {
        #expect(HTTPDate.text(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT")
        #expect(HTTPDate.text(1_709_164_800) == "Thu, 29 Feb 2024 00:00:00 GMT")
        try await withGateway { gateway in
            for path in ["/health/live", "/nowhere"] {
                let date = try #require(try await gateway("GET", path).headers[.date])
                #expect(date.hasSuffix(" GMT") && date.count == 29)
            }
        }
    }

    @Test("The health and the OpenAPI document report the version")
    func version() async throws {
        let version = "1.2.3 (\"0a1b2c\\n\")"
        try await withGateway(configure: { $0.version = version }) { gateway in
            #expect(try await gateway.json("GET", "/health").fields["version"] as? String == version)
            let information = try await gateway.json("GET", "/openapi.json").fields["info"] as? [String: Any]
            #expect(information?["version"] as? String == version)
        }
    }

    @Test("An unknown query parameter is refused, except by Apache's interface and the dashboard")
    func unknownQueryParameter() async throws {
        try await withGateway { gateway in
            for (method, path, status) in [
                ("GET", "/queues/v1?x", 400), ("POST", "/queues/v1/q/leases?cuont=5", 400),
                ("GET", "/queues/v1/q/messages?limit=1&priority=5", 400), ("DELETE", "/queues/v1/q/messages?all", 400),
                ("POST", "/queues/v1/q/messages?prio=5", 400), ("POST", "/queues/v1/q/dead/redrive?x=", 400),
                ("POST", "/queues/v1/q/messages?delay=5", 400), ("GET", "/queues/v1/q/consumers?limit=5", 400),
                ("POST", "/queues/v1/q/leases/x/acknowledge?token=1&delayMilliseconds=5", 400),
                ("GET", "/extensions/v1?x=1", 400), ("GET", "/metrics?x=1", 400), ("GET", "/health?x=1", 400),
                ("PUT", "/queues/v1/q/messages?x=1", 405),
                ("GET", "/znodes/v1/?_=1234", 200), ("POST", "/sessions/v1?op=create&_=1234", 201), ("GET", "/?x", 200),
            ] {
                let response = try await gateway(method, path)
                #expect(response.status == status, "\(method) \(path)")
                if status == 400 { #expect(response.body.contains("is unknown.")) }
            }
        }
    }

    @Test("A queue that cannot be read does not affect the other queues")
    func unreadableQueue() async throws {
        try await withGateway { gateway in
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                let otherUser = [ACL(.all, scheme: "digest", id: "nobody:AAAAAAAAAAAAAAAAAAAAAAAAAAA=")]
                for queue in ["bad", "good"] {
                    #expect(try await gateway("POST", "/queues/v1/\(queue)/messages", body: "x").status == 201)
                }
                try await client.setACL(of: "/bad/consumers", to: otherUser)
                try await client.setACL(of: "/bad/items", to: otherUser)
                let list = try await gateway.json("GET", "/queues/v1")
                #expect(list.status == 200 && list.fields["queues"] as? [String] == ["/bad", "/good"])
                #expect(try await gateway("GET", "/queues/v1/good").status == 200)
                let metrics = try await gateway("GET", "/metrics").body
                let ready = "zookeeper_queue_messages{endpoint=\"/\",queue=\"/good\",state=\"ready\"} 1\n"
                #expect(metrics.contains(ready), "\(metrics)")
                #expect(metrics.contains("zookeeper_gateway_queue_readable{endpoint=\"/\",queue=\"/good\"} 1\n"))
                #expect(metrics.contains("zookeeper_gateway_queue_readable{endpoint=\"/\",queue=\"/bad\"} "))
                // The root cannot be listed. The served queues are listed nevertheless.
                try await client.setACL(of: "/", to: [.world([.write, .create, .delete, .admin])])
                let closed = try await gateway.json("GET", "/queues/v1")
                #expect(closed.status == 200 && closed.fields["queues"] as? [String] == ["/bad", "/good"])
                try await client.setACL(of: "/", to: .open)
            }
        }
    }

    @Test("A label is escaped even when a combining mark follows a quote")
    func labelEscaping() {
        var lines = MetricLines()
        lines.add("m", ["q": "a\"\u{301}\\\u{301}"], 1)
        #expect(lines.text.isIdentical(to: "m{q=\"a\\\"\u{301}\\\\\u{301}\"} 1\n"), "\(lines.text)")
    }

    @Test("The dashboard loads nothing from other sites, and allows only its own scripts")
    func dashboard() async throws {
        try await withGateway { gateway in
            for (path, type) in [
                ("/", "text/html; charset=utf-8"), ("/page.css", "text/css; charset=utf-8"),
                ("/page.js", "text/javascript; charset=utf-8"), ("/openapi.json", "application/json"),
            ] {
                let response = try await gateway("GET", path)
                #expect(response.status == 200 && response.contentType == type && !response.body.isEmpty)
                let policy = response.headers[.contentSecurityPolicy] ?? ""
                #expect(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"))
                #expect(!policy.contains("unsafe"))
                // The dashboard refers to no other site.
                #expect(path == "/openapi.json" || !response.body.contains("http"))
            }
            // Names come from queues, and must never be inserted as HTML.
            #expect(!Dashboard.script.contains("innerHTML") && !Dashboard.script.contains("insertAdjacentHTML"))
        }
    }
}
