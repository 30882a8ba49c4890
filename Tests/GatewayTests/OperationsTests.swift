import HTTPTypes
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperServer

@testable import ZooKeeperGateway

/// What those who run a gateway look at.
@Suite(.timeLimit(.minutes(1)))
struct OperationsTests {
    @Test func healthTellsWhetherTheEnsembleAnswers() async throws {
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
                    let answer = try await gateway("GET", path)
                    #expect(answer.status == 200 && answer.contentType == "text/plain")
                }
                let health = try await gateway.json("GET", "/health")
                #expect(health.status == 200 && health.fields["status"] as? String == "ready")
                #expect(health.fields["version"] as? String == "unknown")
                // What stands in it is not for everybody.
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

    @Test func metricsCountRequestsAndMessages() async throws {
        try await withGateway { gateway in
            #expect(try await gateway("POST", "/queues/v1/a%22b/messages", body: "x").status == 201)
            #expect(try await gateway("GET", "/nowhere").status == 404)
            let text = try await gateway("GET", "/metrics").body
            for line in [
                "zookeeper_gateway_requests_total{status=\"2xx\"} 1",
                "zookeeper_gateway_requests_total{status=\"4xx\"} 1",
                "zookeeper_gateway_connected{endpoint=\"/\"} 1", "zookeeper_gateway_sessions{endpoint=\"/\"} 0",
                "zookeeper_queue_messages{endpoint=\"/\",place=\"ready\",queue=\"/a\\\"b\"} 1",
            ] { #expect(text.contains(line + "\n"), "\(text)") }
            #expect(try await gateway("POST", "/metrics").status == 405)
        }
    }

    @Test("Every answer has the time, as HTTP writes it")
    func answersHaveADate() async throws {
        #expect(HTTPDate.text(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT")
        #expect(HTTPDate.text(1_709_164_800) == "Thu, 29 Feb 2024 00:00:00 GMT")
        try await withGateway { gateway in
            for path in ["/health/live", "/nowhere"] {
                let date = try #require(try await gateway("GET", path).headers[.date])
                #expect(date.hasSuffix(" GMT") && date.count == 29)
            }
        }
    }

    @Test("The gateway tells its version and commit")
    func versionsAreTold() async throws {
        let version = "1.2.3 (\"0a1b2c\\n\")"
        try await withGateway(configure: { $0.version = version }) { gateway in
            #expect(try await gateway.json("GET", "/health").fields["version"] as? String == version)
            let information = try await gateway.json("GET", "/openapi.json").fields["info"] as? [String: Any]
            #expect(information?["version"] as? String == version)
        }
    }

    @Test("A name in a query that is not known is refused, but for Apache's interface and the page")
    func anUnknownNameInAQueryIsRefused() async throws {
        try await withGateway { gateway in
            for (method, path, status) in [
                ("GET", "/queues/v1?x", 400), ("POST", "/queues/v1/q/leases?cuont=5", 400),
                ("GET", "/queues/v1/q/messages?limit=1&priority=5", 400), ("DELETE", "/queues/v1/q/messages?all", 400),
                ("POST", "/queues/v1/q/messages?prio=5", 400), ("POST", "/queues/v1/q/dead/redrive?x=", 400),
                ("GET", "/extensions/v1?x=1", 400), ("GET", "/metrics?x=1", 400), ("GET", "/health?x=1", 400),
                ("PUT", "/queues/v1/q/messages?x=1", 405),
                ("GET", "/znodes/v1/?_=1234", 200), ("POST", "/sessions/v1?op=create&_=1234", 201), ("GET", "/?x", 200),
            ] {
                let answer = try await gateway(method, path)
                #expect(answer.status == status, "\(method) \(path)")
                if status == 400 { #expect(answer.body.contains("is unknown.")) }
            }
        }
    }

    @Test("A queue that may not be read keeps nothing from the others")
    func oneBadQueueLeavesTheOthersAlone() async throws {
        try await withGateway { gateway in
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                let nobody = [ACL(.all, scheme: "digest", id: "nobody:AAAAAAAAAAAAAAAAAAAAAAAAAAA=")]
                for queue in ["bad", "good"] {
                    #expect(try await gateway("POST", "/queues/v1/\(queue)/messages", body: "x").status == 201)
                }
                try await client.setACL(of: "/bad/consumers", to: nobody)
                try await client.setACL(of: "/bad/items", to: nobody)
                let list = try await gateway.json("GET", "/queues/v1")
                #expect(list.status == 200 && list.fields["queues"] as? [String] == ["/bad", "/good"])
                #expect(try await gateway("GET", "/queues/v1/good").status == 200)
                let metrics = try await gateway("GET", "/metrics").body
                let ready = "zookeeper_queue_messages{endpoint=\"/\",place=\"ready\",queue=\"/good\"} 1\n"
                #expect(metrics.contains(ready), "\(metrics)")
                #expect(metrics.contains("zookeeper_gateway_queue_readable{endpoint=\"/\",queue=\"/good\"} 1\n"))
                #expect(metrics.contains("zookeeper_gateway_queue_readable{endpoint=\"/\",queue=\"/bad\"} "))
                // The root itself is closed: the queues that are at work are known all the same.
                try await client.setACL(of: "/", to: [.world([.write, .create, .delete, .admin])])
                let closed = try await gateway.json("GET", "/queues/v1")
                #expect(closed.status == 200 && closed.fields["queues"] as? [String] == ["/bad", "/good"])
                try await client.setACL(of: "/", to: .open)
            }
        }
    }

    @Test("A name with a combining mark behind a quote leaves the metrics whole")
    func labelsAreEscaped() {
        var lines = MetricLines()
        lines.add("m", ["q": "a\"\u{301}\\\u{301}"], 1)
        #expect(lines.text.isIdentical(to: "m{q=\"a\\\"\u{301}\\\\\u{301}\"} 1\n"), "\(lines.text)")
    }

    @Test func thePageIsServedAndAllowsNoOtherScripts() async throws {
        try await withGateway { gateway in
            for (path, type) in [
                ("/", "text/html; charset=utf-8"), ("/page.css", "text/css; charset=utf-8"),
                ("/page.js", "text/javascript; charset=utf-8"), ("/openapi.json", "application/json"),
            ] {
                let answer = try await gateway("GET", path)
                #expect(answer.status == 200 && answer.contentType == type && !answer.body.isEmpty)
                let policy = answer.headers[.contentSecurityPolicy] ?? ""
                #expect(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"))
                #expect(!policy.contains("unsafe"))
                // No resource from elsewhere.
                #expect(path == "/openapi.json" || !answer.body.contains("http"))
            }
            // Names come from queues, and are never written as HTML.
            #expect(!Dashboard.script.contains("innerHTML") && !Dashboard.script.contains("insertAdjacentHTML"))
        }
    }
}
