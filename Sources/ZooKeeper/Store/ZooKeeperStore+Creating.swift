extension ZooKeeperStore {
    /// Creates a node with the client's default access control list, unless the node exists already.
    package func createIfMissing(_ path: String, data: [UInt8] = []) async throws {
        try await createIfMissing(path) { _ = try await create(path, data: data, mode: .persistent) }
    }

    /// Creates a node with an access control list, unless the node exists already.
    ///
    /// - Parameter acl: the list; `nil` means the client's default.
    package func createIfMissing(_ path: String, data: [UInt8] = [], acl: [ACL]?) async throws {
        try await createIfMissing(path) { _ = try await multi([.create(path, data: data, acl: acl)]) }
    }

    private func createIfMissing(_ path: String, by create: () async throws -> Void) async throws {
        while true {
            do {
                return try await create()
            } catch let error as ZooKeeperError where error.code == .nodeExists {
                return
            } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                // Repeating the create is harmless, and it waits for a connection.
            } catch let error as ZooKeeperError where error.code == .noAuth {
                // The client may be able to use a node although it may not create nodes in the same parent.
                guard try await exists(path) != nil else { throw error }
                return
            }
        }
    }
}
