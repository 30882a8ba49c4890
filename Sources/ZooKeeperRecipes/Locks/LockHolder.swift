import Synchronization
import ZooKeeper

/// A lock, or a leadership, that this process holds.
public struct LockHolder: Sendable {
    private let store: any ZooKeeperStore
    private let place: LockLine.Place
    private let lost = LostFlag()

    /// A class, because a structure with an atomic value cannot be copied.
    private final class LostFlag: Sendable {
        let value = Atomic(false)
    }

    init(_ store: any ZooKeeperStore, _ place: LockLine.Place) {
        self.store = store
        self.place = place
    }

    /// A number that grows with each holder of the lock. A store that remembers the largest one can refuse a process
    /// that has lost the lock without noticing: such a process can exist, however short the session timeout is.
    ///
    /// It is the zxid of the holder's node. Of a ``ReadWriteLock``, only the tokens of writers are for such a store,
    /// because several readers hold it at once.
    public var fencingToken: Int64 { place.token }

    /// Whether the lock is certainly held: the session lives, and a server is connected.
    ///
    /// While it is `false` and the closure runs, pause effects that another holder must not repeat. It can become
    /// `true` again.
    public var isHeld: Bool {
        let state = store.sessionState
        return !isLost && state.sessionID == place.session && state.phase == .connected
    }

    var isLost: Bool { lost.value.load(ordering: .acquiring) }
    func lose() { lost.value.store(true, ordering: .releasing) }
}

extension LockLine {
    /// Runs `body` while it holds the lock, and cancels its task when the lock is lost.
    func hold<Result: Sendable>(
        _ kind: LockNode.Kind, data: [UInt8] = [], within limit: Duration?,
        _ body: @escaping @Sendable (LockHolder) async throws -> Result
    ) async throws -> Result {
        let place = try await acquire(kind, data: data, until: limit.map { store.now + $0 })
        let holder = LockHolder(store, place)
        // A task of its own, because only it is cancelled when the lock is lost.
        let work = Task { try await body(holder) }
        let result = await withTaskCancellationHandler {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    await untilLost(place)
                    // The wait also ends when it is cancelled, after the body.
                    if Task.isCancelled { return }
                    holder.lose()
                    work.cancel()
                }
                let result = await work.result
                group.cancelAll()
                return result
            }
        } onCancel: {
            work.cancel()
        }
        let wasHeld = holder.isHeld
        let departure = await leave(place)
        switch departure {
        case _ where holder.isLost: throw lost("was lost")
        // The node was there, so the session had not ended.
        case .deleted: break
        case .unfinished where wasHeld, .sessionEnded where wasHeld: break
        case .unfinished, .sessionEnded: throw lost("may have been lost")
        case .refused(let code):
            throw RecipeError(
                .notReleased,
                "The lock \(path) was held, and cannot be released: the client may not delete the node "
                    + "\(place.node.name). It is held until the client's session ends. Grant the permission to delete.",
                cause: ZooKeeperError(
                    code: code, message: "The node was not deleted.", path: path, outcome: .notApplied))
        }
        return try result.get()
    }

    private func lost(_ what: String) -> RecipeError {
        RecipeError(
            .lost,
            "The lock \(path) \(what) before the closure ended. Another process may hold it now. Check what the "
                + "closure did, and try again.")
    }
}
