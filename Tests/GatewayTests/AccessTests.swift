import Foundation
import HTTPTypes
import Subprocess
import SystemPackage
import TestSupport
import Testing
import ZooKeeper

@testable import ZooKeeperGateway

/// Tests users, host names, endpoints and TLS.
@Suite(.timeLimit(.minutes(1)))
struct AccessTests {
    private func basic(_ text: String) -> [String: String] {
        ["Authorization": "Basic " + Data(text.utf8).base64EncodedString()]
    }

    @Test("An endpoint admits its users, or else the gateway's, with their passwords only")
    func users() async throws {
        let zookeeper = try ZooKeeperConfiguration(servers: try await TestServer.address())
        let endpoints: [GatewayConfiguration.Endpoint] = [
            .init(zookeeper: zookeeper), .init(path: "/own", zookeeper: zookeeper, users: ["own": "o"]),
        ]
        try await withGateway(endpoints: endpoints, configure: { $0.users = ["all": "a:b", "empty": ""] }) { gateway in
            for (path, user, status) in [
                ("/", "all:a:b", 200), ("/", "all:a", 401), ("/", "all:", 401), ("/", "empty:", 200),
                ("/", "nobody:", 401),
                ("/", "own:o", 401), ("/", "", 401), ("/own/", "own:o", 200), ("/own/", "all:a:b", 401),
            ] {
                let response = try await gateway("GET", "\(path)znodes/v1/", headers: basic(user))
                #expect(response.status == status, "\(path) \(user)")
                if status == 401 { #expect(response.headers[.wwwAuthenticate]?.hasPrefix("Basic ") == true) }
            }
            for header in ["Basic", "Basic !!!", "Bearer x", "Basic /w=="] {
                #expect(try await gateway("GET", "/znodes/v1/", headers: ["Authorization": header]).status == 401)
            }
            #expect(try await gateway("GET", "/znodes/v1/").status == 401)
        }
    }

    @Test("The page of another site can neither change anything nor read a response")
    func crossOriginRequests() async throws {
        try await withGateway { gateway in
            for (origin, status) in [("https://evil.example", 403), ("null", 403), ("http://\(gateway.host)", 201)] {
                let response = try await gateway(
                    "POST", "/queues/v1/queue/messages", headers: ["Origin": origin], body: "x")
                #expect(response.status == status, "\(origin)")
            }
            let read = try await gateway("GET", "/queues/v1", headers: ["Origin": "https://evil.example"])
            // Without this header, the browser does not show the response to the page.
            #expect(read.status == 200 && read.headers[.accessControlAllowOrigin] == nil)
        }
    }

    @Test("A gateway without users or TLS serves no host name that could be another site's")
    func allowedHosts() throws {
        let zookeeper = try ZooKeeperConfiguration(servers: "h:1")
        var configuration = GatewayConfiguration(host: "Gateway.example", endpoints: [.init(zookeeper: zookeeper)])
        let good = [
            "127.0.0.1", "127.0.0.1:9998", "10.0.0.7", "[::1]:9998", "localhost", "LOCALHOST:80", "localhost.", "zk",
            "a.localhost", "gateway.ns.svc.cluster.local:80", "a.internal", "gateway.example:9998",
        ]
        let bad = [
            "evil.example", "evil.example:9998", "EVIL.example.", "127.0.0.1.evil.example", "localhost.evil.example",
            "local.evil.example", "evil-local.example", "evilgateway.example", "1.evil.example",
        ]
        for host in good { #expect(AllowedHosts(configuration).allow(host), "\(host)") }
        for host in bad { #expect(!AllowedHosts(configuration).allow(host), "\(host)") }
        configuration.allowedHosts = ["Queue.example.com"]
        for (host, isGood) in [("queue.example.com:80", true), ("localhost", true), ("evil.example", false)] {
            #expect(AllowedHosts(configuration).allow(host) == isGood, "\(host)")
        }
        configuration.allowedHosts = ["*"]
        #expect(AllowedHosts(configuration).allow("evil.example"))
        // DNS rebinding does not work against a gateway that requires a password or presents a certificate.
        configuration.allowedHosts = []
        configuration.endpoints[0].users = ["u": "p"]
        #expect(AllowedHosts(configuration).allow("queue.example.com"))
        configuration.endpoints.append(.init(path: "/open", zookeeper: zookeeper))
        #expect(!AllowedHosts(configuration).allow("queue.example.com"))
        configuration.tls = .init(certificateChain: "c", privateKey: "k")
        #expect(AllowedHosts(configuration).allow("queue.example.com"))
        configuration.allowedHosts = ["queue.example.com"]
        #expect(!AllowedHosts(configuration).allow("evil.example"))
    }

    @Test("A request for another site's name gets 421, except for the health")
    func misdirectedRequests() async throws {
        try await withGateway { gateway in
            for (path, status) in [
                ("/", 421), ("/queues/v1", 421), ("/znodes/v1/", 421), ("/metrics", 421), ("/health", 200),
            ] {
                let response = try await gateway.raw(
                    "GET \(path) HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
                #expect(response.hasPrefix("HTTP/1.1 \(status)"), "\(path): \(response)")
                #expect(response.contains("allowedHosts") == (status == 421))
            }
        }
    }

    @Test("User names are compared as bytes, and a password may begin with a combining mark")
    func userNames() {
        let users = BasicAuthentication(users: ["\u{E9}": "p", "u": "\u{301}p"])
        for (text, isAdmitted) in [
            ("\u{E9}:p", true), ("e\u{301}:p", false), ("u:\u{301}p", true), ("u:p", false), ("\u{E9}:", false),
        ] {
            let header = "Basic " + Data(text.utf8).base64EncodedString()
            #expect(users.admits([.authorization: header]) == isAdmitted, "\(text.utf8.map { $0 })")
        }
    }

    @Test("The dashboard, the interfaces and the metrics require a user")
    func protectedPaths() async throws {
        try await withGateway(configure: { $0.users = ["u": "p"] }) { gateway in
            for path in [
                "/", "/page.js", "/openapi.json", "/queues/v1", "/queues/v1/q/messages", "/sessions/v1", "/metrics",
            ] {
                for method in ["GET", "POST", "OPTIONS", "HEAD"] where path != "/metrics" || method == "GET" {
                    let response = try await gateway(method, path)
                    #expect(response.status == 401, "\(method) \(path)")
                }
            }
        }
    }

    @Test("Endpoints share neither nodes nor sessions")
    func separateEndpoints() async throws {
        let servers = try await TestServer.address()
        try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { client in
            for path in ["/one", "/two"] { try await client.create(path) }
        }
        let endpoints = try ["one", "two"].map {
            GatewayConfiguration.Endpoint(path: "/\($0)", zookeeper: try .init(servers: "\(servers)/\($0)"))
        }
        try await withGateway(endpoints: endpoints) { gateway in
            #expect(try await gateway.json("POST", "/one/znodes/v1/?name=a", body: "1").status == 201)
            #expect(try await gateway.json("GET", "/one/znodes/v1/a").status == 200)
            #expect(try await gateway.json("GET", "/two/znodes/v1/a").status == 404)
            #expect(try await gateway.json("GET", "/znodes/v1/a").status == 404)
            let id = try await gateway.json("POST", "/one/sessions/v1").fields["id"] as? String ?? ""
            let path = "/two/znodes/v1/?name=e&ephemeral=true&session=\(id)"
            #expect(try await gateway.json("POST", path, body: "x").status == 401)
        }
    }

    @Test("An endpoint uses its own digest credentials and default access control list")
    func digestCredentials() async throws {
        let servers = try await TestServer.address()
        let credentials = ZooKeeperConfiguration.Authentication.digest(user: "u", password: "p")
        let allowed = try ZooKeeperConfiguration(
            servers: servers, authentication: credentials, defaultACL: [.init(.all, scheme: "auth", id: "")])
        let endpoints: [GatewayConfiguration.Endpoint] = [
            .init(path: "/with", zookeeper: allowed), .init(path: "/without", zookeeper: try .init(servers: servers)),
        ]
        try await withGateway(endpoints: endpoints) { gateway in
            for (method, path, status) in [
                ("POST", "/with/znodes/v1/?name=a", 201), ("GET", "/with/znodes/v1/a", 200),
                ("GET", "/without/znodes/v1/a", 401),
            ] {
                let response = try await gateway.json(method, path, body: method == "POST" ? "1" : nil)
                #expect(response.status == status, "\(path)")
            }
        }
    }

    @Test("A gateway with a certificate serves HTTPS, and no plain HTTP")
    func tls() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "tls-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (certificate, key) = (folder.appending(path: "c.pem").path(), folder.appending(path: "k.pem").path())
        let openssl = try await run(
            .name("openssl"),
            arguments: [
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", key,
                "-out", certificate,
            ], output: .discarded, error: .discarded)
        try #require(openssl.terminationStatus.isSuccess)
        try await withGateway(configure: { $0.tls = .init(certificateChain: certificate, privateKey: key) }) {
            gateway in
            let response = try await gateway.overTLS("GET", "/znodes/v1/", headers: ["Accept": "application/json"])
            #expect(response.status == 200 && response.body.contains("https://"))
            #expect(try await gateway.raw("GET /znodes/v1/ HTTP/1.1\r\nHost: h\r\n\r\n").isEmpty)
        }
    }
}
