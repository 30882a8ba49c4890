import Foundation
import HTTPTypes
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperServer

@testable import ZooKeeperGateway

/// Tests what the recorded exchanges do not show of `/znodes/v1` and `/sessions/v1`.
@Suite(.timeLimit(.minutes(1)))
struct ZNodeTests {
    private let octets = ["Content-Type": "application/octet-stream", "Accept": "application/json"]

    @Test("A write with another version than the node's is refused")
    func versions() async throws {
        try await withGateway { gateway in
            #expect(try await gateway.json("POST", "/znodes/v1/?name=a", body: "one").status == 201)
            #expect(try await gateway.json("PUT", "/znodes/v1/a?version=0", body: "two").status == 200)
            let refused = try await gateway.json("PUT", "/znodes/v1/a?version=0", body: "three")
            #expect(refused.status == 412 && refused.fields["message"] as? String == "/a bad version")
            #expect(try await gateway.json("DELETE", "/znodes/v1/a?version=0").status == 412)
            #expect(try await gateway.json("PUT", "/znodes/v1/a?version=-1", body: "any").status == 200)
            #expect(try await gateway.json("DELETE", "/znodes/v1/a?version=2").status == 204)
            #expect(try await gateway.json("DELETE", "/znodes/v1/a").status == 404)
        }
    }

    @Test("A response has the media type that the client prefers")
    func mediaTypes() async throws {
        try await withGateway { gateway in
            #expect(try await gateway.json("POST", "/znodes/v1/?name=a", body: "<&>\u{1}").status == 201)
            for (accept, type) in [
                ("*/*", "application/xml"), ("application/*;q=0.5, application/json", "application/json"),
                ("text/html, application/xml;q=0.9, */*;q=0.8", "application/xml"),
                ("application/json;q=0.1, application/octet-stream", "application/octet-stream"),
            ] {
                let response = try await gateway("GET", "/znodes/v1/a", headers: ["Accept": accept])
                #expect(response.status == 200 && response.contentType == type, "\(accept)")
                #expect(response.headers[.xContentTypeOptions] == "nosniff")
            }
            #expect(try await gateway("GET", "/znodes/v1/a", headers: ["Accept": "text/html"]).status == 406)
            let xml = try await gateway("GET", "/znodes/v1/a?dataformat=utf8", headers: ["Accept": "application/xml"])
            #expect(xml.body.contains("<dataUtf8>&lt;&amp;&gt;\u{FFFD}</dataUtf8>"))
            let json = try await gateway.json("GET", "/znodes/v1/a?dataformat=utf8")
            #expect(json.fields["dataUtf8"] as? String == "<&>\u{1}")
            let wrong = try await gateway(
                "PUT", "/znodes/v1/a", headers: ["Content-Type": "application/json"], body: "{}")
            #expect(wrong.status == 415)
        }
    }

    @Test("An empty node is represented as by Apache's gateway")
    func emptyNode() async throws {
        try await withGateway { gateway in
            #expect(try await gateway.json("POST", "/znodes/v1/?name=a", body: "").status == 201)
            let json = ["Accept": "application/json"]
            let children = try await gateway("GET", "/znodes/v1/a?view=children", headers: json)
            #expect(children.status == 200 && children.body.hasSuffix("a/{child}\"}"), "\(children.body)")
            let xml = try await gateway("GET", "/znodes/v1/a?view=children")
            #expect(xml.body.contains("<children></children>"))
            let text = try await gateway("GET", "/znodes/v1/a?dataformat=utf8", headers: json)
            #expect(text.body.contains("\"dataUtf8\":null,"), "\(text.body)")
            #expect(try await gateway.json("GET", "/znodes/v1/a").fields["data64"] as? String == "")
        }
    }

    @Test("Without a preferred media type, a read returns XML, and any other request JSON")
    func defaultMediaType() async throws {
        try await withGateway { gateway in
            for headers in [[:], ["Accept": "*/*"]] {
                for (method, path, status, type) in [
                    ("POST", "/znodes/v1/?name=a", 201, "json"), ("GET", "/znodes/v1/a", 200, "xml"),
                    ("PUT", "/znodes/v1/a", 200, "json"), ("DELETE", "/znodes/v1/a", 204, "json"),
                    ("DELETE", "/znodes/v1/a", 404, "json"), ("GET", "/znodes/v1/a", 404, "xml"),
                    ("POST", "/sessions/v1?op=create", 201, "json"),
                ] {
                    let body = method == "POST" || method == "PUT" ? "x" : nil
                    let response = try await gateway(method, path, headers: headers, body: body)
                    #expect(response.status == status, "\(method) \(path)")
                    #expect(response.contentType == "application/\(type)", "\(method) \(path)")
                }
            }
        }
    }

    @Test("A callback consists of letters, digits and underscores only")
    func callbacks() async throws {
        try await withGateway { gateway in
            let script = ["Accept": "application/javascript"]
            let good = try await gateway("GET", "/znodes/v1/?callback=my_1", headers: script)
            #expect(good.status == 200 && good.body.hasPrefix("my_1({") && good.body.hasSuffix("})"))
            for bad in ["alert(1)//", "a%3Balert(1)", "", "a.b", "%3Cscript%3E", "a-b", "%C3%A9"] {
                let response = try await gateway("GET", "/znodes/v1/?callback=\(bad)", headers: script)
                #expect(response.status == 400, "\(bad)")
            }
        }
    }

    @Test("No path leads out of the chroot")
    func chroot() async throws {
        try await withGateway { gateway in
            let outside = "outside-\(UUID().uuidString.prefix(8))"
            try await ZooKeeperClient.withClient(
                configuration: .init(servers: String(gateway.address.prefix { $0 != "/" }))
            ) { client in
                try await client.create("/\(outside)")
                for path in [
                    "/../\(outside)", "/%2e%2e/\(outside)", "/%2E%2E%2F\(outside)", "/a/../../\(outside)",
                    "//\(outside)",
                    "/%2F\(outside)", "/..", "/./a", "/a%00b", "/a%", "/a%zz", "/%FF", "/a/",
                ] {
                    for method in ["GET", "HEAD", "PUT", "DELETE"] {
                        let response = try await gateway(method, "/znodes/v1" + path, headers: octets, body: nil)
                        #expect(response.status == 400, "\(method) \(path)")
                    }
                }
                for name in ["..", "../\(outside)", "%2e%2e%2f\(outside)", "", "a%00"] {
                    let response = try await gateway("POST", "/znodes/v1/?name=\(name)", headers: octets, body: "x")
                    #expect(response.status == 400, "\(name)")
                }
                // A path that is encoded twice is an ordinary name inside the chroot.
                #expect(try await gateway("GET", "/znodes/v1/%252e%252e/\(outside)", headers: octets).status == 404)
                #expect(try await client.exists("/\(outside)")?.version == 0)
            }
        }
    }

    @Test("The calls of ZooKeeper's Python client for its gateway work")
    func pythonClient() async throws {
        try await withGateway { gateway in
            #expect(try await gateway.json("POST", "/znodes/v1/?op=create&name=test", body: "some-data").status == 201)
            let node = try await gateway.json("GET", "/znodes/v1/test").fields
            #expect(node["data64"] as? String == Data("some-data".utf8).base64EncodedString())
            #expect(try await gateway.json("POST", "/znodes/v1/test?op=create&name=b", body: "").status == 201)
            let list = try await gateway.json("GET", "/znodes/v1/test?view=children").fields
            let template = try #require(list["child_uri_template"] as? String)
            for child in list["children"] as? [String] ?? [] {
                let uri = try #require(URL(string: template.replacing("{child}", with: child)))
                let found = try await gateway.json("GET", uri.path)
                #expect(found.fields["path"] as? String == "/test/b" && uri.host() == "127.0.0.1")
            }
            #expect(try await gateway.json("DELETE", "/znodes/v1/test/b").status == 204)
            #expect(try await gateway.json("PUT", "/znodes/v1/test?null=true", body: "").status == 200)
            let empty = try await gateway.json("GET", "/znodes/v1/test").fields
            #expect(empty["data64"] == nil && empty["version"] as? Int == 1)
            let session =
                try await gateway.json("POST", "/sessions/v1/?op=create&expire=5").fields["id"] as? String ?? ""
            let ephemeral = "/znodes/v1/?op=create&name=s-&ephemeral=true&sequence=true&session=\(session)"
            let path = try await gateway.json("POST", ephemeral, body: "x").fields["path"] as? String
            #expect(path == "/s-0000000001")
            #expect(try await gateway.json("PUT", "/sessions/v1/\(session)", body: "").status == 200)
            #expect(try await gateway.json("DELETE", "/sessions/v1/\(session)").status == 204)
            #expect(try await gateway("HEAD", "/znodes/v1/s-0000000001").status == 404)
        }
    }

    @Test("A session lives as long as it gets heartbeats, and its ephemeral node ends with it")
    func sessionExpiry() async throws {
        try await withGateway { gateway in
            let created = try await gateway.json("POST", "/sessions/v1?op=create&expire=1")
            let id = try #require(created.fields["id"] as? String)
            #expect(created.status == 201 && id.count == 36)
            let node = "/znodes/v1/?name=e&ephemeral=true&session=\(id)"
            #expect(try await gateway.json("POST", node, body: "x").status == 201)
            // Longer than the session's timeout, with heartbeats.
            for _ in 0..<4 {
                try await Task.sleep(for: .milliseconds(400))
                #expect(try await gateway.json("PUT", "/sessions/v1/\(id)").status == 200)
            }
            #expect(try await gateway.json("GET", "/znodes/v1/e").fields["ephemeralOwner"] as? Int64 ?? 0 != 0)
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                for try await stat in client.statUpdates(of: "/e") where stat == nil { break }
            }
            #expect(try await gateway.json("PUT", "/sessions/v1/\(id)").status == 404)
            #expect(try await gateway("POST", node, headers: octets, body: "x").status == 401)
            #expect(try await gateway.json("POST", "/sessions/v1?expire=0").status == 400)
            #expect(try await gateway.json("POST", "/sessions/v1?op=destroy").status == 400)
            #expect(try await gateway("GET", "/sessions/v1/\(id)").status == 405)
        }
    }

    @Test("Sessions end when the gateway shuts down")
    func sessionsAtShutdown() async throws {
        let addresses = Received()
        try await withGateway { gateway in
            addresses.append(gateway.address)
            let id = try await gateway.json("POST", "/sessions/v1?expire=3600").fields["id"] as? String ?? ""
            let node = "/znodes/v1/?name=e&ephemeral=true&session=\(id)"
            #expect(try await gateway.json("POST", node, body: "x").status == 201)
        }
        try await ZooKeeperClient.withClient(configuration: .init(servers: addresses.text)) { client in
            let left = try await client.exists("/e")
            #expect(left == nil)
        }
    }

    @Test("A request gets 504 while the ensemble hangs, and 503 while it is down")
    func ensembleFailures() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            let zookeeper = try ZooKeeperConfiguration(servers: ensemble.connectString, sessionTimeout: .seconds(6))
            try await withGateway(
                endpoints: [.init(zookeeper: zookeeper)], configure: { $0.responseTimeout = .seconds(1) }
            ) { gateway in
                #expect(try await gateway.json("GET", "/znodes/v1/").status == 200)
                await ensemble.pause(0)
                #expect(try await gateway.json("GET", "/znodes/v1/").status == 504)
                let write = try await gateway.json("PUT", "/znodes/v1/", body: "x")
                #expect((write.fields["message"] as? String)?.contains("may have been applied") == true)
                await ensemble.resume(0)
                await ensemble.kill(0)
                // The gateway's client needs some time to notice that the connection is lost.
                var status = 504
                while status == 504 { status = try await gateway.json("GET", "/znodes/v1/").status }
                #expect(status == 503)
                #expect(try await gateway.json("POST", "/sessions/v1").status == 503)
                try await ensemble.start(0)
                while status == 503 { status = try await gateway.json("GET", "/znodes/v1/").status }
                #expect(status == 200)
            }
        }
    }
}
