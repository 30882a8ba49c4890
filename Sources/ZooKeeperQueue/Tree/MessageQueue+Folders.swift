import Logging
import ZooKeeper

/// The queue's folders, which the members create again when something has removed them: an administrator's `deleteall`, or the
/// server, where a folder is a container node.
extension MessageQueue {
    /// The folders that are missing below the root.
    ///
    /// - Returns: `nil` when the root itself is missing.
    func missingFolders() async throws -> [String]? {
        do {
            let names = Set(try await store.children(of: tree.root).names.map { "\(tree.root)/\($0)" })
            return tree.parents.filter { !names.contains($0) }
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        } catch let error as ZooKeeperError where error.code == .noAuth {
            // A root that may not be listed: each folder by itself.
            guard try await store.exists(tree.root) != nil else { return nil }
            var missing: [String] = []
            for path in tree.parents where try await store.exists(path) == nil { missing.append(path) }
            return missing
        }
    }

    /// Creates the folders that are missing below the root, with the root's access control list.
    ///
    /// - Returns: whether any was missing.
    /// - Throws: ``QueueError/Code/queueMissing`` when the root is missing; `ZooKeeperError`.
    @discardableResult
    func restoreMissingFolders() async throws -> Bool {
        guard let missing = try await missingFolders() else { throw self.missing }
        if missing.isEmpty { return false }
        let acl = try? await store.acl(of: tree.root)
        for path in missing {
            try await create(path, data: path == tree.epoch ? lostEpoch() : [], acl: acl)
            // The last one is created last, so that a queue that has it was complete.
            if !missing.contains(tree.epoch) {
                logger.warning("Restored a missing folder of the queue", metadata: ["node": "\(path)"])
            }
        }
        return true
    }

    /// Returns an epoch for a queue whose own was removed. It is above every epoch in the names of its messages, so
    /// that no name among the items now belongs to another message.
    ///
    /// - Returns: the data of the node; none for the first one.
    private func lostEpoch() async throws -> [UInt8] {
        var folders = [tree.earlier, tree.partial, tree.dead]
        folders += try await names(tree.consumers).map { tree.consumer($0).item }
        var epoch = SequenceEpoch()
        for folder in folders {
            for case let tag? in try await names(folder).map({ ItemName($0)?.epoch }) where tag > 0 {
                epoch.number = max(epoch.number, tag &+ 1)
            }
        }
        return epoch.number == 0 ? [] : epoch.encoded()
    }

    /// Creates a node, unless it exists already.
    ///
    /// - Parameter acl: its access control list; `nil` is the client's default.
    func create(_ path: String, data: [UInt8] = [], acl: [ACL]?) async throws {
        while true {
            do {
                _ = try await store.multi([.create(path, data: data, acl: acl)])
                return
            } catch let error as ZooKeeperError where error.code == .nodeExists {
                return
            } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                // Creating it again is harmless, and waits for a connection.
            } catch let error as ZooKeeperError where error.code == .noAuth {
                guard try await store.exists(path) != nil else { throw error }
                return
            }
        }
    }
}
