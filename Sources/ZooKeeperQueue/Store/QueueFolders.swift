import Logging
import ZooKeeper

/// The queue's folders. Clients create them again after they were removed, by an administrator's `deleteall`, or by the
/// server where a folder is a container node.
struct QueueFolders: Sendable {
    let store: any ZooKeeperStore
    let tree: QueueTree
    let reader: NodeReader
    let logger: Logger

    /// Returns the folders that are missing below the root; `nil` when the root itself is missing.
    func missing() async throws -> [String]? {
        do {
            let names = Set(try await store.children(of: tree.root).names.map { "\(tree.root)/\($0)" })
            return tree.parents.filter { !names.contains($0) }
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        } catch let error as ZooKeeperError where error.code == .noAuth {
            // The client may not list the root, so it checks each folder.
            guard try await store.exists(tree.root) != nil else { return nil }
            var missing: [String] = []
            for path in tree.parents where try await store.exists(path) == nil { missing.append(path) }
            return missing
        }
    }

    /// Creates the root and its ancestors where they are missing.
    func createRootAndAncestors() async throws {
        for path in tree.rootAndAncestors { try await store.createIfMissing(path) }
    }

    /// Creates the folders that are missing below the root, with the root's access control list.
    ///
    /// - Parameter isNew: whether the queue is being created, so nothing was lost and the client's own list applies.
    /// - Returns: whether any folder was missing.
    /// - Throws: ``QueueError/Code/queueNotFound`` when the root is missing; `ZooKeeperError`.
    @discardableResult
    func restoreMissing(isNew: Bool = false) async throws -> Bool {
        guard let missing = try await missing() else { throw QueueError.missingQueue(at: tree.root) }
        if missing.isEmpty { return false }
        let acl = isNew ? nil : try await inheritedACL()
        for path in missing {
            if isNew {
                try await store.createIfMissing(path, acl: nil)
                continue
            }
            switch path {
            case tree.items: try await restoreItems(acl, knowsEpoch: !missing.contains(tree.epoch))
            case tree.epoch: try await store.createIfMissing(path, data: try await lostEpoch(), acl: acl)
            case tree.consumers: try await store.createIfMissing(path, data: Self.restoredMarker, acl: acl)
            default: try await store.createIfMissing(path, acl: acl)
            }
            // Another client may be creating the queue, whose `epoch` is created last.
            logger.log(
                level: missing.contains(tree.epoch) ? .notice : .warning, "Restored a missing folder of the queue",
                metadata: ["node": "\(path)"])
        }
        return true
    }

    /// The data of a restored folder. Its sequence numbers have started again, so the server may assign a name that
    /// another consumer still has.
    private static let restoredMarker = Array("restored".utf8)

    /// Whether the server may assign the same number to two consumers.
    func hasRestoredConsumers() async throws -> Bool {
        try await reader.node(tree.consumers)?.data == Self.restoredMarker
    }

    /// Creates `items` again, in another epoch. Its sequence numbers start again, and a name
    /// must not mean two messages.
    private func restoreItems(_ acl: [ACL]?, knowsEpoch: Bool) async throws {
        guard knowsEpoch else { return try await store.createIfMissing(tree.items, acl: acl) }
        let epoch = try await reader.sequenceEpoch()
        do {
            _ = try await store.multi([
                epoch.change(to: .open, number: epoch.number &+ 1, in: tree), .create(tree.items, data: [], acl: acl),
            ])
        } catch let error as ZooKeeperError
            where [.badVersion, .nodeExists].contains(error.code) || error.outcome == .unknown
        {
            // Another client is restoring it, or the reply was lost. The next use of the folder shows the outcome.
        }
    }

    /// Returns the root's access control list; `nil`, which means the client's own list, when
    /// the root's cannot be used.
    private func inheritedACL() async throws -> [ACL]? {
        do {
            let acl = try await store.aclEntries(of: tree.root)
            // A server hides the passwords from a client that may not change the list.
            let isMasked =
                acl?.contains { $0.scheme == "digest" && $0.id.utf8.suffix(2).elementsEqual(":x".utf8) } ?? false
            return isMasked ? nil : acl
        } catch let error as ZooKeeperError where error.code == .noAuth {
            return nil
        }
    }

    /// Returns an epoch for a queue whose own was removed. It is above every epoch in the names of the queue's
    /// messages, so that no name in `items` now belongs to another message.
    private func lostEpoch() async throws -> [UInt8] {
        var folders = [tree.partial, tree.dead]
        folders += try await reader.names(tree.consumers).map { tree.consumer($0).item }
        // A message in `earlier` belongs to an earlier epoch, even when its name contains none.
        let earlier = try await messages(in: tree.earlier).map { $0.epoch &+ 1 }
        var number = earlier.max() ?? 0
        for folder in folders {
            for name in try await messages(in: folder) where name.epoch > 0 { number = max(number, name.epoch &+ 1) }
        }
        for name in try await delayedNames() where name.item.epoch > 0 { number = max(number, name.item.epoch &+ 1) }
        var epoch = SequenceEpoch()
        epoch.number = number
        return number == 0 ? [] : epoch.encoded()
    }

    private func messages(in folder: String) async throws -> [ItemName] {
        do {
            return try await reader.names(folder).compactMap { ItemName($0) }
        } catch let error as ZooKeeperError where error.code == .noAuth {
            return []
        }
    }
}
