import Foundation
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperNIO
import ZooKeeperServer

/// Encrypted connections to a real server that asks for a client's certificate.
@Suite(.timeLimit(.minutes(2)))
struct TLSTests {
    /// Runs `body` with a server, its address for encrypted connections, and its certificates.
    private func withSecureServer(
        _ body: (LocalEnsemble, _ address: String, LocalCertificates) async throws -> Void
    ) async throws {
        var configuration = LocalEnsembleConfiguration.forTests()
        configuration.usesTLS = true
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            try await body(
                ensemble, try #require(ensemble.secureConnectString), try #require(ensemble.certificates))
        }
    }

    private func configuration(_ servers: String, _ tls: ZooKeeperTLS?) throws -> ZooKeeperConfiguration {
        try ZooKeeperConfiguration(
            servers: servers, transport: .nio(tls: tls), followsReconfiguration: false, sessionTimeout: .seconds(5),
            requestTimeout: .seconds(20))
    }

    /// Expects that a client never connects, and that the error of its first request contains the reason.
    private func expectNoConnection(_ servers: String, _ tls: ZooKeeperTLS?, _ reason: String) async throws {
        var configuration = try configuration(servers, tls)
        configuration.requestTimeout = .seconds(1)
        try await ZooKeeperClient.withClient(configuration: configuration) { client in
            let error = await #expect(throws: ZooKeeperError.self) { try await client.sync() }
            #expect(error?.code == .deadlineExceeded && error?.outcome == .notApplied)
            #expect(error?.message.contains(reason) == true, "\(error as Any)")
        }
    }

    @Test("A client and a server verify each other, by address and by name, and the session survives a restart")
    func mutualVerification() async throws {
        try await withSecureServer { ensemble, address, certificates in
            let tls = ZooKeeperTLS.clientCertificate(
                chain: certificates.clientCertificate, key: certificates.clientKey, trust: certificates.authority)
            for servers in [address, address.replacing("127.0.0.1", with: "localhost")] {
                try await ZooKeeperClient.withClient(configuration: configuration(servers, tls)) { client in
                    _ = try await client.create("/a", data: Array("secret".utf8))
                    #expect(try await client.get("/a").data == Array("secret".utf8))
                    let session = client.sessionState.sessionID
                    if servers == address {
                        await ensemble.kill(0)
                        try await ensemble.start(0)
                    }
                    try await client.delete("/a")
                    #expect(client.sessionState.sessionID == session)
                }
            }
        }
    }

    @Test("The client's certificate is its identity in access control lists of the scheme x509")
    func certificateIdentity() async throws {
        try await withSecureServer { ensemble, address, certificates in
            let tls = ZooKeeperTLS.clientCertificate(
                chain: certificates.clientCertificate, key: certificates.clientKey, trust: certificates.authority)
            try await ZooKeeperClient.withClient(configuration: configuration(address, tls)) { client in
                let mine = ACL(.all, scheme: "x509", id: LocalCertificates.clientIdentity)
                _ = try await client.create("/mine", data: [1], acl: [mine])
                _ = try await client.create("/creator", data: [2], acl: .creatorOnly)
                #expect(try await client.get("/mine").data == [1])
                #expect(try await client.acl(of: "/creator").entries == [mine])
                try await ZooKeeperClient.withClient(configuration: .init(servers: ensemble.connectString)) { other in
                    let error = await #expect(throws: ZooKeeperError.self) { try await other.get("/mine") }
                    #expect(error?.code == .noAuth)
                }
            }
        }
    }

    @Test("Without trust, without a certificate, or without encryption, nothing is sent, and the error says why")
    func refusals() async throws {
        try await withSecureServer { ensemble, address, certificates in
            var tls = ZooKeeperTLS.clientCertificate(
                chain: certificates.clientCertificate, key: certificates.clientKey)
            try await expectNoConnection(address, tls, "CERTIFICATE_VERIFY_FAILED")
            try await expectNoConnection(address, .serverCertificate(trust: certificates.authority), "ERTIFICATE")
            try await expectNoConnection(address, nil, "The last attempt failed")
            tls.trust = certificates.authority
            try await expectNoConnection(ensemble.connectString, tls, "The last attempt failed")
            tls.trust = "/nonexistent.pem"
            try await expectNoConnection(address, tls, "The last attempt failed")
        }
    }

    @Test("A certificate for another name is refused, unless the client is told not to look")
    func otherName() async throws {
        try await withSecureServer { _, address, certificates in
            var tls = ZooKeeperTLS.clientCertificate(
                chain: certificates.clientCertificate, key: certificates.clientKey, trust: certificates.authority)
            let port = try #require(address.split(separator: ":").last.flatMap { Int($0) })
            // The server's certificate is for 127.0.0.1 and localhost.
            let relay = try await Relay.start(host: "127.0.0.2", to: port)
            let other = "127.0.0.2:\(relay.port)"
            try await expectNoConnection(other, tls, "The last attempt failed")
            tls.verifiesHostNames = false
            try await ZooKeeperClient.withClient(configuration: configuration(other, tls)) { try await $0.sync() }
            await relay.stop()
        }
    }

    @Test("Renewed certificates are read at the next connection")
    func renewedCertificates() async throws {
        try await withSecureServer { ensemble, address, certificates in
            let folder = URL.temporaryDirectory.appending(path: "tls-\(UUID())")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: folder) }
            let trust = folder.appending(path: "trust.pem").path()
            // Another certificate, which has not signed the server's.
            try FileManager.default.copyItem(atPath: certificates.clientCertificate, toPath: trust)
            let tls = ZooKeeperTLS.clientCertificate(
                chain: certificates.clientCertificate, key: certificates.clientKey, trust: trust)
            try await ZooKeeperClient.withClient(configuration: configuration(address, tls)) { client in
                let error = await #expect(throws: ZooKeeperError.self) { try await client.sync(timeout: .seconds(1)) }
                #expect(error?.code == .deadlineExceeded)
                try FileManager.default.removeItem(atPath: trust)
                try FileManager.default.copyItem(atPath: certificates.authority, toPath: trust)
                try await client.sync()
            }
        }
    }
}
