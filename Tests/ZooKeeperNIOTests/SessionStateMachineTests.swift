import QueueHistory
import Testing
import ZooKeeper

@testable import ZooKeeperNIO

/// A session over several connections, without a network and without a clock.
@Suite
struct SessionStateMachineTests {
    private let watches = [WatchKey(kind: .data, path: "/watched")]

    @Test("A session is connected once the server has accepted it, with the timeout of the server")
    func connecting() throws {
        let session = Session(timeout: .seconds(30))
        #expect(session.state.isDisconnected && !session.send(1))
        let attempt = try session.begin()
        #expect(session.connected(attempt) && !session.state.isDisconnected && !session.state.isConnected)
        #expect(session.received(attempt, Session.acceptance) == ["establish"] && !session.send(1))
        #expect(session.establish() == ["connected"] && session.send(1))
        #expect(session.state.timeout == .seconds(10) && session.state.session?.number == 1)
    }

    @Test("A lost connection fails each request once, and the next one continues the session and its watches")
    func reconnecting() throws {
        let session = Session()
        var attempt = try session.connect()
        #expect(session.send(1) && session.send(2))
        let response = packet("00000001 0000000000000007 ffffff9b")
        #expect(session.received(attempt, response) == ["completed 1 -101"])
        let actions = session.lost(attempt, after: .seconds(5))
        #expect(actions == ["close connection", "completed 2 -4", "connecting", "connect again, stable"])
        #expect(session.lost(attempt).isEmpty && session.received(attempt, response).isEmpty)

        attempt = try session.begin()
        #expect(session.connected(attempt))
        let request = session.output()
        #expect(request.contains(Session.password) && request.contains("0000000000000007"))
        #expect(session.received(attempt, Session.acceptance) == ["establish"])
        _ = session.establish(watches)
        #expect(session.output().contains(Array("/watched".utf8).hex))
    }

    @Test("A server that ends the connection at once counts as one that refuses the session")
    func unstableConnection() throws {
        let session = Session()
        #expect(session.lost(try session.connect(), after: .milliseconds(900)).last == "connect again")
    }

    @Test("An attempt that fails is followed by one other, even if it fails in two ways")
    func failedAttempt() throws {
        let session = Session()
        let attempt = try session.begin()
        #expect(session.lost(attempt) == ["connect again"] && session.lost(attempt).isEmpty)
        #expect(try session.begin() != attempt)
    }

    @Test("A response that does not fit ends the connection, and fails the requests")
    func unexpectedResponse() throws {
        let session = Session()
        let attempt = try session.connect()
        #expect(session.send(1))
        let actions = session.received(attempt, packet("00000009 0000000000000001 00000000"))
        #expect(actions == ["close connection", "completed 1 -2", "connecting", "connect again"])
        #expect(session.state.isDisconnected && !session.state.hasEnded)
    }

    @Test("A session that the server does not know has ended")
    func expiry() throws {
        let session = Session(identity: SessionIdentity(number: 1, password: []))
        let attempt = try session.begin()
        #expect(session.connected(attempt))
        let refusal = packet("00000000 00000000 0000000000000000 00000010 \(Session.password) 00")
        #expect(session.received(attempt, refusal) == ["close connection", "expired"])
        #expect(session.state.hasEnded && session.state.isDisconnected && !session.wantsConnection())
    }

    @Test("Refused credentials end the session, and the requests that were sent")
    func refusedCredentials() throws {
        let session = Session()
        let attempt = try session.connect()
        session.authenticate()
        #expect(session.send(1))
        let actions = session.received(attempt, packet("fffffffc 0000000000000000 ffffff8d"))
        #expect(actions == ["close connection", "authentication failed", "completed 1 -115", "authenticated -115"])
        #expect(session.state.hasEnded && !session.wantsConnection())
    }

    @Test("Credentials are sent again on each connection, before the watches, and their result is reported once")
    func credentials() throws {
        let session = Session()
        session.authenticate()
        for isFirst in [true, false] {
            let attempt = try session.connect(watches)
            let sent = session.output()
            let credentials = try #require(sent.firstRange(of: Array("user:secret".utf8).hex))
            let watches = try #require(sent.firstRange(of: Array("/watched".utf8).hex))
            #expect(credentials.upperBound < watches.lowerBound)
            let response = packet("fffffffc 0000000000000000 00000000")
            #expect(session.received(attempt, response) == (isFirst ? ["authenticated 0"] : []))
            _ = session.lost(attempt)
        }
    }

    @Test("An idle connection is pinged after a third of the timeout, and given up after two thirds of silence")
    func silence() throws {
        let session = Session()
        let attempt = try session.connect()
        _ = session.output()
        let third = Duration.seconds(10) / 3
        #expect(session.check(attempt, after: .zero).next == third && session.output().isEmpty)
        #expect(session.check(attempt, after: third).next == third * 2)
        #expect(session.output() == "00000008fffffffe0000000b")
        let silent = session.check(attempt, after: .seconds(7))
        #expect(silent.next == nil && silent.actions == ["close connection", "connecting", "connect again, stable"])
        #expect(session.check(attempt, after: .seconds(7)).actions.isEmpty)
    }

    @Test("What arrives from the server postpones the end of the connection")
    func responses() throws {
        let session = Session()
        let attempt = try session.connect()
        #expect(session.received(attempt, packet("fffffffe 0000000000000000 00000000"), after: .seconds(5)).isEmpty)
        #expect(session.check(attempt, after: .seconds(11)).next != nil)
        #expect(session.check(attempt, after: .seconds(12)).next == nil)
    }

    @Test("Closing delivers the responses to earlier requests, and nothing afterwards")
    func closing() throws {
        let session = Session()
        let attempt = try session.connect()
        #expect(session.send(1))
        #expect(session.beginClose() && !session.send(2) && !session.state.hasEnded)
        let responses = packet("00000001 0000000000000001 ffffff9b") + packet("00000002 0000000000000002 00000000")
        #expect(session.received(attempt, responses) == ["completed 1 -101", "confirm close"])
        session.close()
        #expect(session.lost(attempt).isEmpty && !session.wantsConnection())
    }

    @Test("A connection that is lost while closing confirms the end")
    func closingWithoutConfirmation() throws {
        let session = Session()
        let attempt = try session.connect()
        #expect(session.beginClose())
        #expect(session.lost(attempt) == ["close connection", "confirm close"])
        #expect(!session.wantsConnection())
    }

    @Test("A connection that is made after the session was closed is not used")
    func lateConnection() throws {
        let session = Session()
        let attempt = try session.begin()
        #expect(!session.beginClose())
        session.close()
        #expect(!session.connected(attempt) && session.establish().isEmpty && session.output().isEmpty)
    }

    @Test("Whatever happens, each request that was accepted ends exactly once")
    func randomEvents() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<2_000 {
            let (sent, ended) = Self.play(&generator)
            #expect(ended.sorted() == sent, "seed \(seed)")
        }
    }

    private static func play(_ generator: inout SeededGenerator) -> (sent: [UInt64], ended: [UInt64]) {
        let session = Session()
        var (time, attempt, token) = (Duration.zero, 0, UInt64(0))
        var sent: [UInt64] = []
        /// The numbers of the requests on this connection that have no response yet.
        var pending = UInt32(1)..<1
        for _ in 0..<40 {
            time += .milliseconds(.random(in: 0...2_000, using: &generator))
            switch Int.random(in: 0..<10, using: &generator) {
            case 0, 1:
                guard let next = session.state.beginAttempt() else { continue }
                (attempt, pending) = (next, 1..<1)
                _ = session.connected(attempt, after: time)
            case 2, 3:
                if session.state.isConnected { continue }
                _ = session.received(attempt, Session.acceptance, after: time)
                _ = session.establish(after: time)
            case 4, 5, 6:
                token += 1
                guard session.send(token) else { continue }
                sent.append(token)
                pending = pending.lowerBound..<pending.upperBound + 1
            case 7:
                guard let xid = pending.first, session.state.isConnected else { continue }
                let number = withUnsafeBytes(of: xid.bigEndian) { Array($0) }.hex
                _ = session.received(attempt, packet("\(number) 0000000000000001 ffffff9b"), after: time)
                pending = xid + 1..<pending.upperBound
            case 8: _ = session.check(attempt, after: time)
            default: _ = session.lost(.random(in: 0...attempt, using: &generator), after: time)
            }
        }
        _ = session.lost(attempt, after: time)
        return (sent, session.ended)
    }
}

/// Drives a state machine with times since the start, and returns its actions in words, which are easy to compare.
private final class Session {
    static let password = "00112233445566778899aabbccddeeff"
    static let acceptance = packet("00000000 00002710 0000000000000001 00000010 \(password) 00")

    private let start = ContinuousClock.now
    var state: SessionStateMachine
    /// The tokens of the requests that have ended.
    private(set) var ended: [UInt64] = []

    init(identity: SessionIdentity? = nil, timeout: Duration = .seconds(10)) {
        state = SessionStateMachine(session: identity, timeout: timeout)
    }

    /// Returns the number of an attempt to connect.
    func begin() throws -> Int {
        let attempt = state.beginAttempt()
        return try #require(attempt)
    }

    func wantsConnection() -> Bool { state.beginAttempt() != nil }

    /// Returns the number of the attempt that the server has accepted.
    func connect(_ watches: [WatchKey] = []) throws -> Int {
        let attempt = try begin()
        #expect(connected(attempt))
        _ = output()
        #expect(received(attempt, Self.acceptance) == ["establish"])
        #expect(establish(watches) == ["connected"])
        return attempt
    }

    func connected(_ attempt: Int, after time: Duration = .zero) -> Bool { state.connected(attempt, now: start + time) }

    func establish(_ watches: [WatchKey] = [], after time: Duration = .zero) -> [String] {
        note(state.establish(watches: watches, now: start + time))
    }

    func authenticate() { state.authenticate(scheme: "digest", credentials: "user:secret") }

    func send(_ token: UInt64) -> Bool { state.send(.sync(path: "/"), token: token) }

    func output() -> String { state.takeOutput(now: start).hex }

    func received(_ attempt: Int, _ bytes: [UInt8], after time: Duration = .zero) -> [String] {
        note(bytes.withUnsafeBytes { state.received(attempt, $0, now: start + time) })
    }

    func lost(_ attempt: Int, after time: Duration = .zero) -> [String] {
        note(state.lost(attempt, reason: "", now: start + time))
    }

    func check(_ attempt: Int, after time: Duration) -> (next: Duration?, actions: [String]) {
        let (next, actions) = state.check(attempt, now: start + time)
        return (next.map { start.duration(to: $0) }, note(actions))
    }

    func beginClose() -> Bool { state.beginClose() }

    func close() { state.close() }

    private func note(_ actions: [SessionStateMachine.Action]) -> [String] {
        for case .completed(let token, _, _) in actions { ended.append(token) }
        return actions.map { action in
            switch action {
            case .completed(let token, let error, _): "completed \(token) \(error?.rawValue ?? 0)"
            case .watchesRemoved(let token, let error): "watches removed \(token) \(error?.rawValue ?? 0)"
            case .watch(let event): "watch \(event.path)"
            case .authenticated(let error): "authenticated \(error?.rawValue ?? 0)"
            case .phaseChanged(.connected): "connected"
            case .phaseChanged(.connecting): "connecting"
            case .phaseChanged(.expired): "expired"
            case .phaseChanged(.authenticationFailed): "authentication failed"
            case .phaseChanged(.other): "other"
            case .establish: "establish"
            case .closeConnection: "close connection"
            case .connectAgain(_, let wasStable): "connect again\(wasStable ? ", stable" : "")"
            case .confirmClose: "confirm close"
            }
        }
    }
}
