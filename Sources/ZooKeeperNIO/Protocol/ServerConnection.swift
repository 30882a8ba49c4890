import DequeModule
package import ZooKeeper

/// A value type that turns requests into bytes and bytes into events, for one connection. It does no I/O.
package struct ServerConnection: Sendable {
    /// What a server has sent. An error of `nil` means success.
    package enum Event: Sendable {
        /// The server has accepted the session, or has created it.
        case connected(SessionIdentity, timeout: Duration)
        case expired
        case authenticated(error: ZooKeeperError.Code?)
        case completed(token: UInt64, error: ZooKeeperError.Code?, Reply?)
        case watchesRemoved(token: UInt64, error: ZooKeeperError.Code?)
        case watch(WatchEvent)
        case sessionClosed
    }

    private enum State { case handshake, open, closing }
    /// What an expected response completes.
    private enum Expected {
        case reply(UInt64, ReplyFormat, isRead: Bool)
        case removal(UInt64)
        case close
    }

    private var state = State.handshake
    /// The session to continue.
    private let wanted: SessionIdentity?
    private var decoder = PacketDecoder()
    private var writer = JuteWriter()
    /// The requests without a response. A server responds in the order of the requests.
    private var expected: Deque<(xid: Int32, Expected)> = []
    private var nextXID: Int32 = 1
    /// The newest transaction that the session has seen. A server that has not seen it refuses the session.
    private(set) var lastZxid: Int64
    /// The zxid of the response before the last one.
    private var confirmedZxid: Int64
    /// The bytes that have arrived since the last complete packet.
    private var incompleteBytes = 0

    /// Starts a connection with the request to create a session, or to continue one.
    package init(session: SessionIdentity?, lastZxid: Int64, timeout: Duration) {
        (self.lastZxid, confirmedZxid) = (lastZxid, lastZxid)
        wanted = session
        writer.packet { writer in
            // The protocol version has always been 0.
            writer.write(Int32(0))
            writer.write(lastZxid)
            writer.write(Int32(clamping: timeout.milliseconds))
            writer.write(session?.number ?? 0)
            writer.write(session?.password ?? [UInt8](repeating: 0, count: 16))
            // Whether to accept a read-only server (one without a quorum).
            writer.write(false)
        }
    }

    /// Returns the bytes to send.
    mutating func takeOutput() -> [UInt8] { writer.take() }

    // MARK: To the server

    mutating func authenticate(scheme: String, credentials: String) {
        writer.auth(scheme: scheme, credentials: credentials)
    }

    package mutating func setWatches(_ keys: [WatchKey]) { writer.setWatches(keys, since: lastZxid) }

    package mutating func send(_ request: Request, token: UInt64) {
        writer.write(request, xid: expect(.reply(token, ReplyFormat(request), isRead: request.isRead)))
    }

    mutating func removeWatches(_ key: WatchKey, token: UInt64) {
        writer.removeWatches(key, xid: expect(.removal(token)))
    }

    mutating func ping() { writer.write(OpCode.ping, xid: ReservedXID.ping) }

    /// Ends the session.
    mutating func closeSession() {
        state = .closing
        writer.write(OpCode.closeSession, xid: expect(.close))
    }

    /// Lets a test reach the wraparound of xids, which takes two billion requests.
    mutating func setNextXID(_ xid: Int32) { nextXID = xid }

    private mutating func expect(_ response: Expected) -> Int32 {
        let xid = nextXID
        // Negative numbers are reserved, and 0 is never used.
        nextXID = xid == .max ? 1 : xid + 1
        expected.append((xid, response))
        return xid
    }

    // MARK: From the server

    /// How many bytes of an incomplete packet show that the server is alive. With a length that was damaged, a packet
    /// would never be complete, while the responses to pings still arrive.
    private static let progress = 64 << 10

    /// Handles bytes of the server, and appends what they mean to the events. After an error the connection must be
    /// closed.
    ///
    /// - Returns: Whether the bytes show that the server is alive.
    package mutating func receive(
        _ bytes: UnsafeRawBufferPointer, _ events: inout [Event]
    ) throws(ProtocolError) -> Bool {
        // Moved out, because the closure changes `self` while the decoder runs.
        var decoder = decoder
        self.decoder = PacketDecoder()
        defer { self.decoder = decoder }
        var packets = 0
        try decoder.receive(bytes) { packet throws(ProtocolError) in
            packets += 1
            try receive(packet: packet, &events)
        }
        incompleteBytes = packets > 0 ? 0 : incompleteBytes + bytes.count
        guard packets > 0 || incompleteBytes >= Self.progress else { return false }
        incompleteBytes = 0
        return true
    }

    private mutating func receive(packet: UnsafeRawBufferPointer, _ events: inout [Event]) throws(ProtocolError) {
        var reader = JuteReader(packet)
        if state == .handshake { return events.append(try connected(&reader)) }
        let xid = try reader.int32()
        let zxid = try reader.int64()
        let error = ZooKeeperError.Code(result: try reader.int32())
        switch xid {
        case ReservedXID.watchEvent:
            // Since 3.9 its header has the zxid of the event, whose transaction may have more events to come.
            if let event = try reader.watchEvent() { events.append(.watch(event)) }
        case ReservedXID.ping, ReservedXID.setWatches: try saw(zxid)
        case ReservedXID.auth: events.append(.authenticated(error: error))
        default:
            guard let (oldest, response) = expected.first, oldest == xid else { throw .unexpectedXID(xid) }
            try saw(zxid)
            events.append(try completed(response, error, &reader))
            // Removed only after decoding, because `end` must still find the request when decoding throws.
            expected.removeFirst()
        }
    }

    /// Records the newest transaction of a server, which never goes back on one connection. If it does, one of the last
    /// two zxids is corrupt. A zxid that is too large would make every server refuse the session for ever.
    private mutating func saw(_ zxid: Int64) throws(ProtocolError) {
        // Some responses carry 0.
        if zxid <= 0 { return }
        if zxid < lastZxid {
            lastZxid = max(confirmedZxid, zxid)
            throw .zxidWentBack(zxid)
        }
        (confirmedZxid, lastZxid) = (lastZxid, zxid)
    }

    private mutating func connected(_ reader: inout JuteReader) throws(ProtocolError) -> Event {
        _ = try reader.int32()
        let timeout = try reader.int32()
        let number = try reader.int64()
        let password = try reader.buffer() ?? []
        // Whether the server is read-only.
        if reader.remaining > 0 { _ = try reader.bool() }
        try reader.end()
        guard timeout > 0, number != 0 else { return .expired }
        guard wanted == nil || wanted == SessionIdentity(number: number, password: password) else {
            throw .anotherSession(number)
        }
        state = .open
        return .connected(
            SessionIdentity(number: number, password: password), timeout: .milliseconds(Int(timeout)))
    }

    private func completed(
        _ response: Expected, _ error: ZooKeeperError.Code?, _ reader: inout JuteReader
    ) throws(ProtocolError) -> Event {
        switch response {
        case .reply(let token, let format, _):
            if let error { return .completed(token: token, error: error, nil) }
            let (error, reply) = try reader.reply(format)
            return .completed(token: token, error: error, reply)
        case .removal(let token): return .watchesRemoved(token: token, error: error)
        case .close: return .sessionClosed
        }
    }

    /// Fails every outstanding request with the code, because the connection was lost.
    ///
    /// - Parameter error: Why, if the server has sent something invalid. If that was the response to a read, the read
    ///   fails with `invalidResponse`, because a retry would break the next connection too.
    package mutating func end(code: ZooKeeperError.Code, _ error: ProtocolError? = nil) -> [Event] {
        defer { expected = [] }
        return expected.enumerated().compactMap { index, element in
            switch element.1 {
            case .reply(let token, _, isRead: true) where index == 0 && error?.concernsOneResponse == true:
                .completed(token: token, error: .invalidResponse, nil)
            case .reply(let token, _, _): .completed(token: token, error: code, nil)
            case .removal(let token): .watchesRemoved(token: token, error: code)
            case .close: nil
            }
        }
    }
}
