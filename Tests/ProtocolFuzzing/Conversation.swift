package import ZooKeeper
import ZooKeeperNIO

/// A conversation with a hostile server, decided by bytes: what a fuzzer runs, and a test with the kept inputs.
package enum Conversation {
    /// One request of each format of response.
    package static let requests: [Request] = [
        .create(path: "/a", data: nil, mode: .persistent, acl: .open),
        .delete(path: "/a", version: nil),
        .exists(path: "/a", watch: true),
        .get(path: "/a", watch: true),
        .children(path: "/a", watch: true),
        .getACL(path: "/a"),
        .sync(path: "/a"),
        .multi([.create("/b", data: nil), .set("/b", data: [])]),
        .multiRead(["/a", "/b"]),
        .addWatch(path: "/a", isRecursive: false),
        .whoAmI,
    ]

    private static let acceptance: [UInt8] =
        [0, 0, 0, 37, 0, 0, 0, 0, 0, 0, 0x27, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 16]
        + [UInt8](repeating: 0, count: 17)

    /// Plays a conversation, and traps if a request does not end exactly once.
    ///
    /// - Parameter input: The first byte says whether the session is established and in which pieces the rest arrives,
    ///   the second one which requests are sent, and the rest is what the server sends.
    package static func play(_ input: UnsafeRawBufferPointer) {
        guard input.count >= 2 else { return }
        var connection = ServerConnection(session: nil, lastZxid: 0, timeout: .seconds(10))
        var events: [ServerConnection.Event] = []
        if input[0] & 1 == 1 { acceptance.withUnsafeBytes { _ = try? connection.receive($0, &events) } }
        var sent: [UInt64] = []
        for (index, request) in requests.enumerated() where input[1] & (1 << (index % 8)) != 0 {
            connection.send(request, token: UInt64(index))
            sent.append(UInt64(index))
        }
        let size = Int(input[0] >> 1) + 1
        var error: ProtocolError?
        var start = 2
        while start < input.count, error == nil {
            let end = min(input.count, size == 128 ? input.count : start + size)
            do throws(ProtocolError) {
                _ = try connection.receive(UnsafeRawBufferPointer(rebasing: input[start..<end]), &events)
            } catch let thrown {
                error = thrown
            }
            start = end
        }
        events += connection.end(code: .connectionLoss, error)
        let ended = events.compactMap { if case .completed(let token, _, _) = $0 { token } else { nil } }
        precondition(ended.sorted() == sent, "Requests \(sent), ended \(ended)")
    }
}
