extension Request {
    /// The maximum number of operations in one multi. It is also the practical limit of a server.
    package static let maximumOperations = 1_000

    /// Throws a definite error for an invalid request, which the C client or the server would refuse later,
    /// or which could harm the process.
    package func validate(maximumSize: Int) throws {
        switch self {
        case .create(let path, _, let mode, let acl):
            try NodePath.validate(path, sequential: mode.isSequential)
            try Self.validate(mode)
            try Self.validate(acl)
        case .setACL(let path, let acl, _):
            try NodePath.validate(path)
            try Self.validate(acl)
        case .delete(let path, _), .exists(let path, _), .get(let path, _), .children(let path, _),
            .set(let path, _, _),
            .getACL(let path), .sync(let path), .addWatch(let path, _):
            try NodePath.validate(path)
        case .reconfigure(let joining, let leaving):
            for list in [joining, leaving] where list?.utf8.contains(0) ?? false {
                throw Self.invalid("A server's definition must not contain a NUL character.")
            }
        case .multi(let operations):
            try Self.validate(operations)
        case .whoAmI: break
        case .multiRead(let paths):
            for path in paths { try NodePath.validate(path) }
        }
        let size = encodedSize
        if size > maximumSize {
            throw ZooKeeperError(
                code: .requestTooLarge,
                message:
                    "Not sent: the request has \(size) bytes, but the limit is \(maximumSize). Send less at a time, or "
                    + "raise the client's maximumRequestSize.",
                path: path, outcome: .notApplied)
        }
    }

    private static func validate(_ operations: [ZooKeeperOperation]) throws {
        if operations.isEmpty { throw invalid("A transaction (multi) must contain at least one operation.") }
        if operations.count > maximumOperations {
            throw invalid(
                "A multi can have at most \(maximumOperations) operations, but this one has \(operations.count). Split "
                    + "it.")
        }
        for case .create(_, _, let mode, let acl) in operations {
            guard mode.isAllowedInMulti else {
                throw invalid(
                    "A multi cannot create a container or a node with a time to live. Use create(_:data:mode:acl:)."
                )
            }
            if let acl { try validate(acl) }
        }
        for operation in operations {
            if case .create(let path, _, let mode, _) = operation, mode.isSequential {
                try NodePath.validate(path, sequential: true)
            } else {
                try NodePath.validate(operation.path)
            }
        }
    }

    private static func validate(_ mode: CreateMode) throws {
        guard let ttl = mode.timeToLive else { return }
        // `EphemeralType.TTL` in the server's source stores the time to live in 40 bits.
        guard ttl >= .milliseconds(1), ttl.milliseconds <= 0xFF_FFFF_FFFF else {
            throw invalid("A time to live must be from 1 to 2^40 - 1 milliseconds.")
        }
    }

    private static func validate(_ acl: [ACL]) throws {
        if acl.isEmpty {
            throw invalid(
                "An access control list must not be empty. Use .open to permit every operation to every client.")
        }
        for entry in acl where entry.scheme.utf8.contains(0) || entry.id.utf8.contains(0) {
            throw invalid("An access control entry must not contain a NUL character.")
        }
    }

    private static func invalid(_ message: String) -> ZooKeeperError {
        ZooKeeperError(code: .invalidArgument, message: message, path: nil, outcome: .notApplied)
    }
}

extension Duration {
    /// The duration in whole milliseconds, rounded towards zero. Clamped, because a conversion of a
    /// nonsensical duration would trap.
    package var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, tooLarge) = product.addingReportingOverflow(attoseconds / 1_000_000_000_000_000)
        return tooLarge ? product : sum
    }
}
