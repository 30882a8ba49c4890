import Testing
import ZooKeeper

@testable import ZooKeeperNIO

/// The bytes of packets, as *The protocol* describes them.
@Suite
struct PacketTests {
    private func connection(lastZxid: Int64 = 0) -> ServerConnection {
        var connection = ServerConnection(session: nil, lastZxid: lastZxid, timeout: .seconds(10))
        _ = connection.takeOutput()
        return connection
    }

    @Test("A new session is requested with empty identities")
    func newSession() {
        var connection = ServerConnection(session: nil, lastZxid: 0, timeout: .seconds(10))
        #expect(
            connection.takeOutput().hex
                == """
                0000002d 00000000 0000000000000000 00002710 0000000000000000 \
                00000010 00000000000000000000000000000000 00
                """.packed)
    }

    @Test("A session is continued with its id, its password and the newest zxid")
    func continuedSession() {
        let session = SessionIdentity(number: 0x1_0000_0002, password: Array(1...16))
        var connection = ServerConnection(session: session, lastZxid: 0x7, timeout: .seconds(4))
        #expect(
            connection.takeOutput().hex
                == """
                0000002d 00000000 0000000000000007 00000fa0 0000000100000002 \
                00000010 0102030405060708090a0b0c0d0e0f10 00
                """.packed)
    }

    @Test(
        "Each request has its bytes",
        arguments: [
            (
                Request.create(path: "/a", data: [1, 2], mode: .persistentSequential, acl: .open),
                """
                00000033 00000001 0000000f 00000002 2f61 00000002 0102 00000001 0000001f 00000005 776f726c64 \
                00000006 616e796f6e65 00000002
                """
            ),
            (
                .create(path: "/a", data: nil, mode: .persistent(timeToLive: .seconds(1)), acl: .creatorOnly),
                """
                00000032 00000001 00000015 00000002 2f61 ffffffff 00000001 0000001f 00000004 61757468 00000000 \
                00000005 00000000000003e8
                """
            ),
            (.delete(path: "/a", version: nil), "00000012 00000001 00000002 00000002 2f61 ffffffff"),
            (.exists(path: "/a", watch: true), "0000000f 00000001 00000003 00000002 2f61 01"),
            (.get(path: "/a", watch: false), "0000000f 00000001 00000004 00000002 2f61 00"),
            (.children(path: "/a", watch: true), "0000000f 00000001 0000000c 00000002 2f61 01"),
            (
                .set(path: "/a", data: [], version: 3),
                "00000016 00000001 00000005 00000002 2f61 00000000 00000003"
            ),
            (.getACL(path: "/a"), "0000000e 00000001 00000006 00000002 2f61"),
            (.sync(path: "/a"), "0000000e 00000001 00000009 00000002 2f61"),
            (.addWatch(path: "/a", isRecursive: true), "00000012 00000001 0000006a 00000002 2f61 00000001"),
            (.whoAmI, "00000008 00000001 0000006b"),
            (
                .reconfigure(joining: "x", leaving: nil),
                "0000001d 00000001 00000010 00000001 78 ffffffff ffffffff ffffffffffffffff"
            ),
            (
                .multi([.check("/a", version: 0), .delete("/a", version: 1)]),
                """
                00000037 00000001 0000000e 0000000d 00 ffffffff 00000002 2f61 00000000 \
                00000002 00 ffffffff 00000002 2f61 00000001 ffffffff 01 ffffffff
                """
            ),
        ])
    func request(_ request: Request, bytes: String) {
        var connection = connection()
        connection.send(request, token: 1)
        let sent = connection.takeOutput()
        #expect(sent.hex == bytes.packed)
        // The limit of a request's size counts what is sent, without its length.
        #expect(request.encodedSize >= sent.count - 4)
    }

    @Test("A read of several nodes returns each node, or why it cannot be read")
    func multiRead() throws {
        var connection = try open()
        connection.send(.multiRead(["/a", "/b"]), token: 1)
        #expect(
            connection.takeOutput().hex
                == """
                00000031 00000001 00000016 00000004 00 ffffffff 00000002 2f61 00 00000004 00 ffffffff 00000002 2f62 00 \
                ffffffff 01 ffffffff
                """.packed)
        let events = try connection.receive(
            packet(
                """
                00000001 0000000000000001 00000000 00000004 00 00000000 00000001 07 \(String(repeating: "00", count: 68)) \
                ffffffff 00 ffffff9b ffffff9b ffffffff 01 ffffffff
                """))
        guard case .completed(1, nil, .nodes(let nodes)?) = events.first else { throw UnexpectedEvents(events) }
        #expect(nodes == [.node(Node(data: [7], stat: Stat())), .failed(.noNode)])
    }

    @Test("Credentials, pings, removals of watches and the end of the session have their bytes")
    func otherPackets() {
        var connection = connection()
        connection.authenticate(scheme: "digest", credentials: "a:b")
        #expect(
            connection.takeOutput().hex
                == "0000001d fffffffc 00000064 00000000 00000006 646967657374 00000003 613a62".packed)
        connection.ping()
        #expect(connection.takeOutput().hex == "00000008 fffffffe 0000000b".packed)
        connection.removeWatches(WatchKey(kind: .children, path: "/a"), token: 1)
        #expect(connection.takeOutput().hex == "00000012 00000001 00000012 00000002 2f61 00000001".packed)
        connection.removeWatches(WatchKey(kind: .recursive, path: "/a"), token: 2)
        #expect(connection.takeOutput().hex == "00000012 00000002 00000012 00000002 2f61 00000003".packed)
        connection.closeSession()
        #expect(connection.takeOutput().hex == "00000008 00000003 fffffff5".packed)
    }

    @Test("Watches are set again by their kinds, in packets that a server accepts")
    func setWatches() {
        var connection = connection(lastZxid: 5)
        connection.setWatches([.init(kind: .data, path: "/d"), .init(kind: .children, path: "/c")])
        #expect(
            connection.takeOutput().hex
                == """
                00000030 fffffff8 00000069 0000000000000005 00000001 00000002 2f64 00000000 00000001 00000002 2f63 \
                00000000 00000000
                """.packed)
        connection.setWatches([.init(kind: .recursive, path: "/r"), .init(kind: .persistent, path: "/p")])
        #expect(
            connection.takeOutput().hex
                == """
                00000030 fffffff8 00000069 0000000000000005 00000000 00000000 00000000 00000001 00000002 2f70 \
                00000001 00000002 2f72
                """.packed)
        connection.setWatches([])
        #expect(connection.takeOutput().isEmpty)
        let many = (0..<20_000).map { WatchKey(kind: .existence, path: "/a/long/path/of/a/node-\($0)") }
        connection.setWatches(many)
        let sizes = connection.takeOutput().packetSizes
        #expect(sizes.count > 3 && sizes.allSatisfy { $0 < 200_000 }, "\(sizes)")
    }

    @Test("Responses are matched with their requests, in order")
    func responses() throws {
        var connection = try open()
        connection.send(.get(path: "/a", watch: false), token: 11)
        connection.send(.delete(path: "/a", version: nil), token: 12)
        connection.send(.multi([.check("/a"), .delete("/b")]), token: 13)
        let stat = (1...11).map { Array(repeating: UInt8($0), count: [4, 5, 6, 8, 9].contains($0 - 1) ? 4 : 8) }
        let events = try connection.receive(
            packet("00000001 0000000000000009 00000000 ffffffff", stat.flatMap { $0 })
                + packet("00000002 000000000000000a ffffff9b")
                + packet(
                    """
                    00000003 000000000000000b 00000000 ffffffff 00 00000000 00000000 ffffffff 00 ffffff91 ffffff91 \
                    ffffffff 01 ffffffff
                    """))
        guard case .completed(11, nil, .node(let node)?) = events[0] else { throw UnexpectedEvents(events) }
        #expect(
            node.data == nil && node.stat.czxid == 0x0101_0101_0101_0101 && node.stat.pzxid == 0x0b0b_0b0b_0b0b_0b0b)
        #expect(node.stat.version == 0x0505_0505 && node.stat.ephemeralOwner == 0x0808_0808_0808_0808)
        guard case .completed(12, .noNode, nil) = events[1] else { throw UnexpectedEvents(events) }
        guard case .completed(13, .notEmpty, .multiFailed(at: 1)?) = events[2] else { throw UnexpectedEvents(events) }
        #expect(connection.lastZxid == 11)
    }

    @Test("Watch events are reported, and those of unknown types are ignored")
    func watchEvents() throws {
        var connection = try open()
        let header = "ffffffff ffffffffffffffff 00000000"
        let events = try connection.receive(
            packet("\(header) 00000003 00000003 00000002 2f61") + packet("\(header) 00000063 00000003 00000002 2f61"))
        guard events.count == 1, case .watch(let event) = events[0] else { throw UnexpectedEvents(events) }
        #expect(event == WatchEvent(kind: .dataChanged, path: "/a"))
    }

    @Test("A response may arrive in pieces of any size", arguments: [1, 2, 3, 5, 7, 100])
    func pieces(size: Int) throws {
        var connection = try open()
        for token in 1...20 { connection.send(.delete(path: "/a", version: nil), token: UInt64(token)) }
        let bytes = (1...20).flatMap { packet("000000\(String($0, radix: 16).padded) 0000000000000001 00000000") }
        var tokens: [UInt64] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            for event in try connection.receive(Array(bytes[start..<min(start + size, bytes.count)])) {
                if case .completed(let token, nil, _) = event { tokens.append(token) }
            }
        }
        #expect(tokens == Array(1...20))
    }

    @Test("A session that a server does not know has expired")
    func expired() throws {
        var connection = connection()
        let events = try connection.receive(
            packet("00000000 00000000 0000000000000000 00000010 00000000000000000000000000000000 00"))
        guard case .expired = events.first else { throw UnexpectedEvents(events) }
    }

    @Test("Numbers of requests stay positive after 2^31")
    func xids() throws {
        var connection = try open()
        connection.setNextXID(.max)
        for token in UInt64(1)...2 { connection.send(.sync(path: "/"), token: token) }
        let events = try connection.receive(
            packet("7fffffff 0000000000000001 ffffff9b") + packet("00000001 0000000000000001 ffffff9b"))
        #expect(events.count == 2)
    }
}

/// Returns a connection whose session is established.
func open() throws -> ServerConnection {
    var connection = ServerConnection(session: nil, lastZxid: 0, timeout: .seconds(10))
    let events = try connection.receive(
        packet("00000000 00002710 0000000000000001 00000010 00000000000000000000000000000000 00"))
    guard case .connected(let session, .seconds(10)) = events.first, session.number == 1 else {
        throw UnexpectedEvents(events)
    }
    _ = connection.takeOutput()
    return connection
}

struct UnexpectedEvents: Error {
    let events: [ServerConnection.Event]
    init(_ events: [ServerConnection.Event]) { self.events = events }
}

/// Returns a packet with its length, from digits with spaces.
func packet(_ digits: String, _ rest: [UInt8] = []) -> [UInt8] {
    let packed = Array(digits.packed.utf8)
    let content =
        stride(from: 0, to: packed.count, by: 2).compactMap {
            UInt8(String(decoding: packed[$0..<$0 + 2], as: UTF8.self), radix: 16)
        } + rest
    return withUnsafeBytes(of: UInt32(content.count).bigEndian) { Array($0) } + content
}

extension ServerConnection {
    mutating func receive(_ bytes: [UInt8]) throws(ProtocolError) -> [Event] {
        var events: [Event] = []
        var thrown: ProtocolError?
        bytes.withUnsafeBytes { bytes in
            do throws(ProtocolError) { _ = try receive(bytes, &events) } catch { thrown = error }
        }
        if let thrown { throw thrown }
        return events
    }
}

extension String {
    fileprivate var packed: String { filter { !$0.isWhitespace } }
    fileprivate var padded: String { count == 1 ? "0" + self : self }
}

extension [UInt8] {
    var hex: String { map { String($0, radix: 16).padded }.joined() }

    /// The sizes of the packets.
    fileprivate var packetSizes: [Int] {
        var sizes: [Int] = []
        var rest = self[...]
        while rest.count >= 4 {
            sizes.append(rest.prefix(4).reduce(0) { $0 << 8 | Int($1) })
            rest = rest.dropFirst(4 + (sizes.last ?? 0))
        }
        return sizes
    }
}
