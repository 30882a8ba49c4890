import CZooKeeper
import Dispatch
import Foundation
import Glibc
public import ZooKeeper

/// Expires a client's session on the server: a second handle takes the session over and closes it. The client's own
/// handle learns of the expiry when it reconnects.
///
/// Returns when the client has learned of it. The two handles can take the session from each other so fast that the
/// second handle's close is not sent. The function then tries again.
public func expireSession(of client: ZooKeeperClient) async throws {
    let before = client.sessionState.expirations
    for _ in 0..<20 where client.sessionState.expirations == before {
        for await state in client.sessionStates where state.phase == .connected { break }
        guard let session = await client.sessionCredentials else { continue }
        await closeSession(session.number, session.password, servers: client.configuration.servers)
        try? await withDeadline("the expiry", within: .seconds(2)) {
            for await state in client.sessionStates where state.expirations > before { break }
        }
    }
    if client.sessionState.expirations == before { throw TestTimeout(what: "a session to expire") }
}

private func closeSession(_ number: Int64, _ password: [UInt8], servers: String) async {
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
        DispatchQueue.global().async {
            var identity = clientid_t()
            identity.client_id = number
            withUnsafeMutableBytes(of: &identity.passwd) { $0.copyBytes(from: password) }
            let handle = zookeeper_init2(servers, ignoreEvent, 10_000, &identity, nil, ZOO_NO_LOG_CLIENTENV, ignoreLog)
            // Polls, because a watcher would need a context that outlives the handle.
            while zoo_state(handle) != ZOO_CONNECTED_STATE, zoo_state(handle) != ZOO_EXPIRED_SESSION_STATE {
                usleep(200)
            }
            zookeeper_close(handle)
            continuation.resume()
        }
    }
}

private nonisolated func ignoreEvent(
    _ handle: OpaquePointer?, type: Int32, state: Int32, path: UnsafePointer<CChar>?, context: UnsafeMutableRawPointer?
) {}

private nonisolated func ignoreLog(_ message: UnsafePointer<CChar>?) {}
