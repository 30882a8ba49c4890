extension ZooKeeperClient {
    /// Creates a persistent node without data, and its missing ancestors, including the chroot.
    /// Leaves existing nodes unchanged.
    ///
    /// The call is safe to repeat, and retries after a lost response.
    ///
    /// - Parameters:
    ///   - path: The node's path. `"/"` is the chroot.
    ///   - acl: The access control list of the created nodes. `nil` means ``ZooKeeperConfiguration/defaultACL``.
    ///   - timeout: How long to wait in total, instead of ``ZooKeeperConfiguration/requestTimeout``.
    /// - Throws: ``ZooKeeperError``, for example `.noAuth` or `.noChildrenForEphemerals`. Ancestors
    ///   that were already created remain.
    public func ensurePath(_ path: String, acl: [ACL]? = nil, timeout: Duration? = nil) async throws {
        let path = try full(path)
        let end = ContinuousClock.now + deadline(timeout)
        try await localizing {
            // The path, followed by each ancestor that was found missing.
            var missing = [path]
            while let node = missing.last {
                let remaining = ContinuousClock.now.duration(to: end)
                do {
                    // Reads first, because a client without permission to create may find that the node already exists.
                    if try await stat(node, watch: false, timeout: remaining) == nil {
                        let create = Request.create(
                            path: node, data: [], mode: .persistent, acl: acl ?? configuration.defaultACL)
                        _ = try await perform(create, timeout: remaining, expecting: [.noNode, .nodeExists])
                    }
                    missing.removeLast()
                } catch let error as ZooKeeperError where error.code == .nodeExists {
                    missing.removeLast()
                } catch let error as ZooKeeperError where error.code == .noNode {
                    guard let parent = NodePath.parent(of: node) else { throw error }
                    missing.append(parent)
                } catch let error as ZooKeeperError where error.isReplyLost {
                    continue
                }
            }
        }
    }

    /// Deletes a node and all its descendants, children first. Skips nodes that another
    /// client has deleted in the meantime.
    ///
    /// The deletion is not atomic. After an error or a cancellation the remaining nodes stay, and another
    /// call continues. The call does not return while other clients keep creating nodes there. It
    /// succeeds when the node does not exist.
    ///
    /// - Parameters:
    ///   - path: The node's path. `"/"` is the chroot. Refuses the root of the whole tree.
    ///   - timeout: How long each request waits, instead of ``ZooKeeperConfiguration/requestTimeout``.
    /// - Throws: ``ZooKeeperError``, for example `.noAuth`.
    public func deleteRecursively(_ path: String, timeout: Duration? = nil) async throws {
        let root = try full(path)
        guard root != "/" else {
            throw ZooKeeperError(
                code: .invalidArgument,
                message: "The root of the tree cannot be deleted. Delete the nodes below it instead.",
                path: path, outcome: .notApplied)
        }
        try await localizing {
            // A stack of nodes that have, or had, children. The loop deletes the children of the last one first.
            var parents = try await deleteLeaves([root], timeout: timeout)
            while let parent = parents.last {
                let names = try await childNames(of: parent, timeout: timeout)
                let remaining = try await deleteLeaves(names.map { parent + "/" + $0 }, timeout: timeout)
                if !remaining.isEmpty {
                    parents += remaining
                } else if try await deleteLeaves([parent], timeout: timeout).isEmpty {
                    parents.removeLast()
                }
            }
        }
    }

    /// Deletes the nodes that have no children, 200 at a time.
    ///
    /// - Returns: The nodes that may still exist, because they have children or because the response was lost.
    private func deleteLeaves(_ paths: [String], timeout: Duration?) async throws -> [String] {
        var remaining: [String] = []
        for start in stride(from: 0, to: paths.count, by: 200) {
            let batch = paths[start..<min(start + 200, paths.count)]
            let results = try await gather(
                batch.map { .delete(path: $0, version: nil) }, timeout: timeout, expecting: [.noNode, .notEmpty])
            for (path, result) in zip(batch, results) {
                do {
                    _ = try result.get()
                } catch let error as ZooKeeperError where error.code == .noNode {
                    continue
                } catch let error as ZooKeeperError where error.code == .notEmpty || error.isReplyLost {
                    remaining.append(path)
                }
            }
        }
        return remaining
    }

    /// Returns the names of a node's children, and no names when the node does not exist.
    private func childNames(of path: String, timeout: Duration?) async throws -> [String] {
        do {
            return try await nodeChildren(path, watch: false, timeout: timeout, expecting: [.noNode]).names
        } catch let error as ZooKeeperError where error.code == .noNode {
            return []
        }
    }
}

extension ZooKeeperError {
    /// Whether to repeat the request: its response was lost and the deadline has not passed, or the session moved.
    fileprivate var isReplyLost: Bool {
        outcome == .unknown && code != .deadlineExceeded || code == .sessionMoved
    }
}
