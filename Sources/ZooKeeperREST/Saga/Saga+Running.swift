package import ZooKeeper

extension Saga {
    /// How often a step without a response is tried before the error is thrown. Each attempt has waited for a response,
    /// or has paused.
    private static let attempts = 10

    /// Carries out the remaining steps.
    ///
    /// - Throws: ``ZooKeeperError``: with the index of the operation when an operation was refused and the earlier
    ///   steps were undone; with an unknown outcome when the transaction stopped halfway.
    package mutating func run(_ store: some SingleOperations) async throws -> [OperationResult] {
        if nodes == nil {
            let paths = paths
            let found = zip(paths, try await store.get(paths)).compactMap { path, node in
                node.map { (ExactString(path), $0) }
            }
            let read = Dictionary(uniqueKeysWithValues: found)
            try verify(read)
            nodes = read
            session = store.sessionID
        }
        // The node that keeps other clients away is gone, or belongs to another session. Nothing more is done, and
        // nothing is undone.
        if session != store.sessionID, dependsOnSession { throw await stop(Self.sessionEnded, store) }
        var attempts = 0
        // Whether a step of this run was carried out or has an unknown outcome.
        var hasBegun = false
        while next < order.count {
            let index = order[next]
            do {
                try await execute(index, store)
                isUncertain = false
                hasBegun = true
                attempts = 0
                next += 1
            } catch let error as ZooKeeperError {
                if error.outcome == .notApplied, error.code.isRefusal {
                    if !compensations.isEmpty { try await compensate(store) }
                    throw ZooKeeperError(
                        code: error.code, message: error.message, path: operations[index].path, operationIndex: index,
                        outcome: .notApplied)
                }
                if !canResume { throw error }
                if error.outcome == .unknown { (isUncertain, hasBegun) = (true, true) }
                // A caller that repeats the transaction on a closed store must get that error.
                if compensations.isEmpty && !isUncertain || error.code == .closed && !hasBegun { throw error }
                attempts += 1
                if attempts >= Self.attempts || error.code == .closed {
                    throw await stop(error, store)
                }
            }
        }
        return zip(operations, results).map { operation, result in
            if let result { return result }
            if case .delete = operation { return .deleted }
            return .checked
        }
    }

    private func stopped(_ error: ZooKeeperError) -> ZooKeeperError {
        let remedy =
            canResume && error.code != .closed
            ? "The transaction stopped after \(next) of \(order.count) steps. Repeat it to carry out the rest."
            : "The transaction stopped halfway and cannot be resumed. Read its nodes before you repeat it."
        return ZooKeeperError(
            code: error.code, message: "\(remedy) Cause: \(error.message)", path: error.path, outcome: .unknown)
    }

    private static let sessionEnded = ZooKeeperError(
        code: .sessionMoved, message: "The session of the transaction has ended.", path: nil, outcome: .notApplied)

    /// Whether the transaction is safe only while the session lives in which it was begun.
    private var dependsOnSession: Bool {
        !fleeting.isEmpty
            || operations.contains { operation in
                guard case .check(let path, _) = operation else { return false }
                return nodes?[ExactString(path)]?.stat.ephemeralOwner == session
            }
    }

    /// Stops halfway. Deletes the nodes that keep other clients away, because they would stay as long as the session,
    /// and no client would resume what they guard.
    private mutating func stop(
        _ error: ZooKeeperError, _ store: some SingleOperations
    ) async -> ZooKeeperError {
        if dependsOnSession, session != store.sessionID { canResume = false }
        guard session == store.sessionID else { return stopped(error) }
        for (index, operation) in operations.enumerated() {
            guard case .create(let path, _, _, _) = operation, fleeting.contains(ExactString(path)),
                results[index] != nil
            else {
                continue
            }
            canResume = false
            try? await deleteOwn(path, store)
        }
        return stopped(error)
    }

    /// Deletes a fleeting node, unless it is already gone and another client has created one there.
    private func deleteOwn(_ path: String, _ store: some SingleOperations) async throws {
        guard try await store.get([path])[0]?.stat.ephemeralOwner == store.sessionID else { return }
        try await store.delete(path, version: nil)
    }

    // MARK: Steps

    private mutating func execute(_ index: Int, _ store: some SingleOperations) async throws {
        switch operations[index] {
        case .create(let path, let data, let mode, _):
            let isFleeting = fleeting.contains(ExactString(path))
            var created = path
            do {
                created = try await store.createNode(path, data: data, mode: isFleeting ? .ephemeral : mode)
            } catch let error as ZooKeeperError where error.code == .nodeExists && isUncertain {
                guard let node = try await store.get([path])[0] else { throw error }
                if isFleeting {
                    guard node.stat.ephemeralOwner == store.sessionID else { throw error }
                } else if node.data != data {
                    throw error
                } else if !isOurs(path, store.sessionID) {
                    // Another client may have created the node. It would undo that if this transaction went on, because
                    // both move the same message. The message is left in two places instead.
                    canResume = false
                    throw await stop(error, store)
                }
            }
            results[index] = .created(path: created)
            compensations.append(.delete(created, version: isFleeting ? nil : 0))
        case .delete(let path, let version):
            do {
                if isUncertain, fleeting.contains(ExactString(path)) {
                    try await deleteOwn(path, store)
                } else {
                    try await store.delete(path, version: version)
                }
            } catch let error as ZooKeeperError where error.code == .noNode {
                guard isUncertain || fleeting.contains(ExactString(path)) else { throw error }
            }
            results[index] = .deleted
            if !fleeting.contains(ExactString(path)) {
                compensations.append(.create(path, data: nodes?[ExactString(path)]?.data))
            }
        case .set(let path, let data, let version):
            let stat: Stat
            do {
                stat = try await store.set(path, data: data, version: version)
            } catch let error as ZooKeeperError where error.code == .badVersion && isUncertain {
                guard let node = try await store.get([path])[0], node.data == data,
                    node.stat.version == (version ?? 0) &+ 1
                else { throw error }
                stat = node.stat
            }
            results[index] = .set(stat)
            compensations.append(.set(path, data: nodes?[ExactString(path)]?.data, version: stat.version))
        case .check: break
        }
    }

    /// Returns whether an attempt without a response created the node, whose data is as wanted.
    ///
    /// It did when no other client works on the node. That is certain below a node that an ephemeral node of this
    /// session, checked or held meanwhile, proves to belong to this session. It is also certain when every moved node
    /// comes from such a place.
    private func isOurs(_ path: String, _ sessionID: Int64) -> Bool {
        let places = operations.compactMap { operation -> String? in
            switch operation {
            case .check(let path, _) where nodes?[ExactString(path)]?.stat.ephemeralOwner == sessionID:
                Self.parent(path) + "/"
            case .create(let path, _, _, _) where fleeting.contains(ExactString(path)): Self.parent(path) + "/"
            default: nil
            }
        }
        func isExclusive(_ path: String) -> Bool { places.contains { path.utf8.starts(with: $0.utf8) } }
        let sources = operations.compactMap { operation -> String? in
            guard case .delete(let path, _) = operation, !fleeting.contains(ExactString(path)) else { return nil }
            return path
        }
        return isExclusive(path) || !sources.isEmpty && sources.allSatisfy(isExclusive)
    }

    // MARK: Compensation

    /// Undoes the steps, the last one first. When that gets no response, a message is left in two places.
    private mutating func compensate(_ store: some SingleOperations) async throws {
        canResume = false
        while let last = compensations.popLast() {
            var attempts = 0
            while true {
                do {
                    switch last {
                    case .create(let path, let data):
                        _ = try await store.createNode(path, data: data, mode: .persistent)
                    case .delete(let path, nil): try await deleteOwn(path, store)
                    case .delete(let path, let version): try await store.delete(path, version: version)
                    case .set(let path, let data, let version):
                        _ = try await store.set(path, data: data, version: version)
                    }
                    break
                } catch let error as ZooKeeperError {
                    // An earlier attempt without a response did this, or another client has changed what was created or
                    // set.
                    if case .create = last, error.code.isRefusal, error.code != .nodeExists { throw stopped(error) }
                    if error.code.isRefusal { break }
                    // A second attempt could delete what another client has created in its place. The message is left
                    // in two places.
                    if case .delete(_, .some) = last, error.outcome == .unknown { break }
                    attempts += 1
                    if attempts >= Self.attempts {
                        throw await stop(error, store)
                    }
                }
            }
        }
    }
}

extension ZooKeeperError.Code {
    /// Whether the ensemble has looked at the operation and refused it.
    fileprivate var isRefusal: Bool {
        [
            .noNode, .noAuth, .badVersion, .noChildrenForEphemerals, .nodeExists, .notEmpty, .invalidACL, .badArguments,
            .invalidArgument, .requestTooLarge,
        ].contains(self)
    }
}
