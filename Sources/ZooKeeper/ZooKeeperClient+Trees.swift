extension ZooKeeperClient {
    /// Creates a persistent node without data, and its missing ancestors, the chroot included. A node that exists already is
    /// left as it is.
    ///
    /// It is safe to repeat, and repeats itself after a lost answer.
    ///
    /// - Parameters:
    ///   - path: the node's path; `"/"` is the chroot.
    ///   - acl: who may do what with the created nodes; `nil` is ``ZooKeeperConfiguration/defaultACL``.
    ///   - timeout: how long to wait altogether, instead of ``ZooKeeperConfiguration/callDeadline``.
    /// - Throws: ``ZooKeeperError``, `.noAuth` and `.noChildrenForEphemerals` among them. Ancestors that were created stay.
    public func ensurePath(_ path: String, acl: [ACL]? = nil, timeout: Duration? = nil) async throws {
        let path = try full(path)
        let end = ContinuousClock.now + deadline(timeout)
        try await localizing {
            // The path, and those of its ancestors that were found missing.
            var wanted = [path]
            while let node = wanted.last {
                let left = ContinuousClock.now.duration(to: end)
                do {
                    // Reads first, because a client without the permission to create may find the node already there.
                    if try await stat(node, watch: false, timeout: left) == nil {
                        let create = Request.create(
                            path: node, data: [], mode: .persistent, acl: acl ?? configuration.defaultACL)
                        _ = try await perform(create, timeout: left, expecting: [.noNode, .nodeExists])
                    }
                    wanted.removeLast()
                } catch let error as ZooKeeperError where error.code == .nodeExists {
                    wanted.removeLast()
                } catch let error as ZooKeeperError where error.code == .noNode {
                    guard let parent = NodePath.parent(of: node) else { throw error }
                    wanted.append(parent)
                } catch let error as ZooKeeperError where error.isAnswerLost {
                    continue
                }
            }
        }
    }

    /// Deletes a node and everything below it, children first. Nodes that another client deletes meanwhile are passed
    /// over.
    ///
    /// It is not atomic. After an error or a cancellation the remaining nodes stay, and calling it again continues. It
    /// does not end while other clients keep creating nodes there. A node that does not exist is no error.
    ///
    /// - Parameters:
    ///   - path: the node's path; `"/"` is the chroot. The root of the whole tree is refused.
    ///   - timeout: how long each of its requests waits, instead of ``ZooKeeperConfiguration/callDeadline``.
    /// - Throws: ``ZooKeeperError``, `.noAuth` among them.
    public func deleteRecursively(_ path: String, timeout: Duration? = nil) async throws {
        let root = try full(path)
        guard root != "/" else {
            throw ZooKeeperError(
                code: .invalidArgument, message: "The root of the tree cannot be deleted: name a node below it.",
                path: path, outcome: .notApplied)
        }
        try await localizing {
            // A stack of nodes that have, or had, children. The children of the last one are deleted first.
            var parents = try await deleteLeaves([root], timeout: timeout)
            while let parent = parents.last {
                let names = try await childNames(of: parent, timeout: timeout)
                let left = try await deleteLeaves(names.map { parent + "/" + $0 }, timeout: timeout)
                if !left.isEmpty {
                    parents += left
                } else if try await deleteLeaves([parent], timeout: timeout).isEmpty {
                    parents.removeLast()
                }
            }
        }
    }

    /// Deletes the nodes that have no children, some hundred at once.
    ///
    /// - Returns: those that may still exist: they have children, or their answer was lost.
    private func deleteLeaves(_ paths: [String], timeout: Duration?) async throws -> [String] {
        var left: [String] = []
        for start in stride(from: 0, to: paths.count, by: 200) {
            let batch = paths[start..<min(start + 200, paths.count)]
            let results = try await gather(
                batch.map { .delete(path: $0, version: nil) }, timeout: timeout, expecting: [.noNode, .notEmpty])
            for (path, result) in zip(batch, results) {
                do {
                    _ = try result.get()
                } catch let error as ZooKeeperError where error.code == .noNode {
                    continue
                } catch let error as ZooKeeperError where error.code == .notEmpty || error.isAnswerLost {
                    left.append(path)
                }
            }
        }
        return left
    }

    /// Returns no names for a node that does not exist.
    private func childNames(of path: String, timeout: Duration?) async throws -> [String] {
        do {
            return try await nodeChildren(path, watch: false, timeout: timeout, expecting: [.noNode]).names
        } catch let error as ZooKeeperError where error.code == .noNode {
            return []
        }
    }
}

extension ZooKeeperError {
    /// Whether to repeat a request: the connection broke, and the deadline has not passed.
    fileprivate var isAnswerLost: Bool {
        outcome == .unknown && code != .deadlineExceeded || code == .sessionMoved
    }
}
