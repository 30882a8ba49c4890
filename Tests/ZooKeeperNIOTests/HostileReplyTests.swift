import Foundation
import QueueHistory
import Testing
import ZooKeeper

@testable import ZooKeeperNIO

/// Bytes that no honest server sends. Each ends the connection with an error, and never the process.
@Suite
struct HostileReplyTests {
    private func refusal(of bytes: [UInt8], after requests: [Request] = []) throws -> ProtocolError? {
        var connection = try open()
        for (token, request) in requests.enumerated() { connection.send(request, token: UInt64(token)) }
        do throws(ProtocolError) {
            _ = try connection.receive(bytes)
            return nil
        } catch {
            return error
        }
    }

    private let header = "00000001 0000000000000001 00000000"
    private var stat: String { String(repeating: "00", count: 68) }

    @Test("A response to no request, to a later one, or with an unknown number ends the connection")
    func unexpectedNumbers() throws {
        let reads = [Request.sync(path: "/"), .sync(path: "/")]
        #expect(try refusal(of: packet(header)) == .unexpectedXID(1))
        #expect(try refusal(of: packet("00000002 0000000000000001 00000000"), after: reads) == .unexpectedXID(2))
        #expect(try refusal(of: packet("fffffffd 0000000000000001 00000000"), after: reads) == .unexpectedXID(-3))
    }

    @Test("Lengths that are negative, or larger than the packet, end the connection")
    func lengths() throws {
        let get = [Request.get(path: "/", watch: false)]
        #expect(try refusal(of: packet("\(header) fffffffe \(stat)"), after: get) == .negativeLength(-2))
        #expect(try refusal(of: packet("\(header) 7fffffff \(stat)"), after: get) == .truncated)
        let children = [Request.children(path: "/", watch: false)]
        #expect(try refusal(of: packet("\(header) 7fffffff \(stat)"), after: children) == .truncated)
        #expect(try refusal(of: packet("\(header) 80000000 \(stat)"), after: children) == .negativeLength(.min))
        let acl = [Request.getACL(path: "/")]
        #expect(try refusal(of: packet("\(header) 00ffffff \(stat)"), after: acl) == .truncated)
    }

    @Test("A response with more or fewer bytes than its content ends the connection")
    func sizes() throws {
        let exists = [Request.exists(path: "/", watch: false)]
        #expect(try refusal(of: packet("\(header) \(stat) 00"), after: exists) == .trailingBytes(1))
        let whole = packet("\(header) \(stat)")
        for size in 0..<whole.count - 4 {
            var cut = Array(whole[4..<4 + size])
            cut = withUnsafeBytes(of: UInt32(size).bigEndian) { Array($0) } + cut
            #expect(try refusal(of: cut, after: exists) == .truncated, "\(size)")
        }
        #expect(try refusal(of: whole, after: exists) == nil)
    }

    @Test("A packet of two gigabytes, and the response of an HTTP server, are refused at their first bytes")
    func largePackets() throws {
        #expect(try refusal(of: [0x7f, 0xff, 0xff, 0xff]) == .packetTooLarge(0x7fff_ffff))
        #expect(try refusal(of: Array("HTTP/1.1 400 Bad Request".utf8)) == .packetTooLarge(0x4854_5450))
    }

    @Test("A zxid that was damaged is not kept, because every server would refuse the session")
    func damagedZxid() throws {
        var connection = try open()
        for token in UInt64(1)...3 { connection.send(.sync(path: "/"), token: token) }
        _ = try connection.receive(packet("00000001 0000000000000005 ffffff9b"))
        _ = try connection.receive(packet("00000002 7000000000000006 ffffff9b"))
        #expect(throws: ProtocolError.zxidWentBack(7)) {
            try connection.receive(packet("00000003 0000000000000007 ffffff9b"))
        }
        #expect(connection.lastZxid == 7)
    }

    @Test("A packet that grows too slowly does not show that the server is alive")
    func slowPacket() throws {
        var connection = try open()
        var events: [ServerConnection.Event] = []
        func isAlive(after bytes: [UInt8]) throws -> Bool {
            try bytes.withUnsafeBytes { bytes in try connection.receive(bytes, &events) }
        }
        #expect(try isAlive(after: packet("fffffffe 0000000000000001 00000000")))
        // A length of 16 MiB, and then only the responses to pings.
        #expect(try !isAlive(after: [1, 0, 0, 0]))
        for _ in 0..<1_000 { #expect(try !isAlive(after: packet("fffffffe 0000000000000001 00000000"))) }
        // A listing of many children grows fast.
        #expect(try isAlive(after: [UInt8](repeating: 0, count: 70_000)))
        #expect(events.isEmpty)
    }

    @Test("A multi's results of other types than its operations end the connection")
    func multiResults() throws {
        let multi = [Request.multi([.delete("/a")])]
        let end = "ffffffff 01 ffffffff"
        #expect(try refusal(of: packet("\(header) 00000002 00 00000000 \(end)"), after: multi) == nil)
        #expect(
            try refusal(of: packet("\(header) 00000005 00 00000000 \(stat) \(end)"), after: multi)
                == .unexpectedResult(5))
        #expect(try refusal(of: packet("\(header) \(end)"), after: multi) != nil)
    }

    @Test("A read whose response is invalid ends for good, and a write has an unknown outcome")
    func invalidResponse() throws {
        for request in [Request.get(path: "/", watch: false), .delete(path: "/a", version: nil)] {
            var connection = try open()
            connection.send(request, token: 1)
            connection.send(.sync(path: "/"), token: 2)
            let error = #expect(throws: ProtocolError.self) { try connection.receive(packet("\(header) 01")) }
            let codes = connection.end(code: .runtimeInconsistency, error).compactMap { event -> ZooKeeperError.Code? in
                if case .completed(_, let code, nil) = event { code } else { nil }
            }
            let first = request.isRead ? ZooKeeperError.Code.invalidResponse : .runtimeInconsistency
            #expect(codes == [first, .runtimeInconsistency])
        }
    }

    @Test("A server that continues another session is not believed")
    func anotherSession() {
        let session = SessionIdentity(number: 1, password: [UInt8](repeating: 7, count: 16))
        for (number, password) in [("02", "07"), ("01", "08")] {
            var connection = ServerConnection(session: session, lastZxid: 0, timeout: .seconds(1))
            let reply =
                "00000000 00002710 00000000000000\(number) 00000010 \(String(repeating: password, count: 16)) 00"
            #expect(throws: ProtocolError.self) { try connection.receive(packet(reply)) }
        }
    }

    @Test("Random damage to valid responses never traps, and completes each request once")
    func randomDamage() throws {
        let seed = ProcessInfo.processInfo.environment["SEED"].flatMap(UInt64.init) ?? .random(in: 0...UInt64.max)
        let runs = ProcessInfo.processInfo.environment["FUZZ"].flatMap(Int.init) ?? 20_000
        var generator = SeededGenerator(seed: seed)
        let (requests, valid) = Self.conversation
        var refusals = 0
        for _ in 0..<runs {
            var connection = try open()
            for (token, request) in requests.enumerated() { connection.send(request, token: UInt64(token)) }
            var bytes = valid
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                guard let index = bytes.indices.randomElement(using: &generator) else { continue }
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: bytes[index] = .random(in: 0...255, using: &generator)
                case 1: bytes.remove(at: index)
                case 2: bytes.insert(.random(in: 0...255, using: &generator), at: index)
                default: bytes.removeSubrange(index...)
                }
            }
            var events: [ServerConnection.Event] = []
            let isRefused = bytes.withUnsafeBytes { bytes in
                do throws(ProtocolError) {
                    _ = try connection.receive(bytes, &events)
                    return false
                } catch {
                    return true
                }
            }
            if isRefused { refusals += 1 }
            events += connection.end(code: .connectionLoss)
            let tokens = events.compactMap { if case .completed(let token, _, _) = $0 { token } else { nil } }
            try #require(tokens.sorted() == requests.indices.map(UInt64.init), "seed \(seed)")
        }
        print("Hostile replies: \(runs) runs, \(refusals) refused, seed \(seed)")
        #expect(refusals > runs / 10)
    }

    /// One request of each format, and the valid responses.
    private static let conversation: (requests: [Request], responses: [UInt8]) = {
        let stat = String(repeating: "00", count: 68)
        let contents: [(Request, String)] = [
            (.create(path: "/a", data: nil, mode: .persistent, acl: .open), "00000002 2f61 \(stat)"),
            (.delete(path: "/a", version: nil), ""),
            (.exists(path: "/a", watch: true), stat),
            (.get(path: "/a", watch: true), "00000003 010203 \(stat)"),
            (.children(path: "/a", watch: true), "00000002 00000001 62 00000001 63 \(stat)"),
            (.getACL(path: "/a"), "00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 \(stat)"),
            (.sync(path: "/a"), "00000002 2f61"),
            (.addWatch(path: "/a", isRecursive: true), "00000000"),
            (.whoAmI, "00000001 00000002 6970 00000001 78"),
            (
                .multi([.create("/b", data: nil), .set("/b", data: [])]),
                "00000001 00 00000000 00000002 2f62 00000005 00 00000000 \(stat) ffffffff 01 ffffffff"
            ),
        ]
        var bytes: [UInt8] = []
        for (index, content) in contents.enumerated() {
            let number = String(index + 1, radix: 16)
            bytes += packet("0000000\(number) 000000000000000\(number) 00000000 \(content.1)")
            bytes += packet("ffffffff ffffffffffffffff 00000000 00000003 00000003 00000002 2f61")
        }
        return (contents.map(\.0), bytes)
    }()
}
