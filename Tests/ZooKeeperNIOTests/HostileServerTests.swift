import Foundation
import NIOCore
import QueueHistory
import Synchronization
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperNIO
import ZooKeeperServer

/// The number of damaged replies, for a longer run.
private let damages = ProcessInfo.processInfo.environment["DAMAGES"].flatMap(Int.init)

/// Servers that are damaged, silent, or no ZooKeeper servers. Real sockets.
@Suite(.timeLimit(.minutes(damages == nil ? 5 : 60)))
struct HostileServerTests {
    @Test("Damaged replies under load end connections, and lose no write that was acknowledged")
    func damagedReplies() async throws {
        let limit = damages ?? 100
        let address = try await TestServer.address()
        let ensemble = try await TestServer.shared.ensemble()
        let seed = UInt64.random(in: 0...UInt64.max)
        let damage = Damage(limit: limit, seed: seed)
        let relay = try await Relay.start(to: ensemble.ports[0]) { damage.apply(to: &$0) }
        let chroot = address.drop { $0 != "/" }
        var configuration = try ZooKeeperConfiguration(
            servers: "127.0.0.1:\(relay.port)\(chroot)", transport: .nio, followsReconfiguration: false,
            sessionTimeout: .seconds(5))
        configuration.requestTimeout = .seconds(10)
        let (stored, failures) = try await ZooKeeperClient.withClient(configuration: configuration) { client in
            try await withThrowingTaskGroup(of: (Set<String>, Int).self) { group in
                for worker in 0..<16 {
                    group.addTask {
                        var (stored, failures, number) = (Set<String>(), 0, 0)
                        while !damage.isDone {
                            number += 1
                            do {
                                _ = try await client.create("/node-\(worker)-\(number)", data: [1, 2, 3])
                                _ = try await client.get("/node-\(worker)-\(number)")
                                stored.insert("node-\(worker)-\(number)")
                            } catch is ZooKeeperError {
                                failures += 1
                            }
                        }
                        return (stored, failures)
                    }
                }
                return try await group.reduce(into: (Set<String>(), 0)) { sum, part in
                    sum.0.formUnion(part.0)
                    sum.1 += part.1
                }
            }
        }
        await relay.stop()
        print("Damaged replies: \(limit), \(stored.count) writes, \(failures) failed requests, seed \(seed)")
        try await ZooKeeperClient.withClient(configuration: .init(servers: address)) { client in
            let names = Set(try await client.children(of: "/").names)
            #expect(stored.isSubset(of: names), "seed \(seed)")
        }
        #expect(stored.count > 100 && failures > 5)
    }

    @Test("A server that is silent, or speaks HTTP, is given up with a reason", arguments: [true, false])
    func otherServers(isSilent: Bool) async throws {
        let relay = try await Relay.start(to: try await TestServer.shared.ensemble().ports[0]) { buffer in
            buffer.clear()
            if !isSilent { buffer.writeString("HTTP/1.1 400 Bad Request\r\n\r\n") }
        }
        let configuration = try ZooKeeperConfiguration(
            servers: "127.0.0.1:\(relay.port)", transport: .nio, sessionTimeout: .milliseconds(900),
            requestTimeout: .seconds(2))
        try await ZooKeeperClient.withClient(configuration: configuration) { client in
            let error = await #expect(throws: ZooKeeperError.self) { try await client.sync() }
            #expect(error?.code == .deadlineExceeded)
            let reason = isSilent ? "has sent nothing" : "both sides use TLS"
            #expect(error?.message.contains(reason) == true, "\(error as Any)")
        }
        await relay.stop()
    }
}

/// Changes a random byte of one read in fifty.
private final class Damage: Sendable {
    private let state: Mutex<(generator: SeededGenerator, left: Int)>

    init(limit: Int, seed: UInt64) { state = Mutex((SeededGenerator(seed: seed), limit)) }

    var isDone: Bool { state.withLock { $0.left == 0 } }

    func apply(to buffer: inout ByteBuffer) {
        state.withLock { state in
            guard state.left > 0, buffer.readableBytes > 0, Int.random(in: 0..<50, using: &state.generator) == 0 else {
                return
            }
            state.left -= 1
            let index = buffer.readerIndex + .random(in: 0..<buffer.readableBytes, using: &state.generator)
            buffer.setInteger(UInt8.random(in: 0...255, using: &state.generator), at: index)
        }
    }
}
