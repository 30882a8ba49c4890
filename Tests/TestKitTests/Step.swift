import QueueHistory
import ZooKeeper

/// One step of a sequence that runs on two ZooKeepers to compare them.
struct Step: Sendable, CustomStringConvertible {
    enum Action: Sendable {
        case create(String, data: [UInt8]?, CreateMode)
        case delete(String, version: Int32?)
        case set(String, data: [UInt8]?, version: Int32?)
        case get(String, watch: Bool)
        case exists(String, watch: Bool)
        case children(String, watch: Bool)
        case acl(String)
        case setACL(String, [ACL], version: Int32?)
        case sync
        case multi([ZooKeeperOperation])
        /// Ends the session and opens another one.
        case reopen
    }
    /// The index of the session that runs the step.
    let session: Int
    let action: Action

    var description: String { "session \(session): \(action)" }

    var isWrite: Bool {
        switch action {
        case .create, .delete, .set, .setACL, .multi, .reopen: true
        case .get, .exists, .children, .acl, .sync: false
        }
    }

    static let sessions = 2
    /// There are few paths, because the steps should often affect the same nodes. Swift treats two of them as equal.
    static let paths = ["/a", "/b", "/a/a", "/a/b", "/b/a", "/a/a/a", "/a/a/b", "/a/\u{E9}", "/a/e\u{301}"]

    static func random(using generator: inout SeededGenerator) -> Step {
        let session = Int.random(in: 0..<sessions, using: &generator)
        let path = paths.randomElement(using: &generator) ?? "/a"
        let isWatching = Bool.random(using: &generator)
        let action: Action
        switch Int.random(in: 0..<100, using: &generator) {
        case 0..<30: action = .create(path, data: data(&generator), mode(&generator))
        case 30..<42: action = .delete(path, version: version(&generator))
        case 42..<52: action = .set(path, data: data(&generator), version: version(&generator))
        case 52..<62: action = .get(path, watch: isWatching)
        case 62..<68: action = .exists(path, watch: isWatching)
        case 68..<69: action = .acl(path)
        case 69..<72: action = .setACL(path, acl(&generator), version: version(&generator))
        case 72..<80: action = .children(path, watch: isWatching)
        case 80..<81: action = .reopen
        case 81..<83: action = .sync
        default:
            let count = Int.random(in: 1...4, using: &generator)
            action = .multi((0..<count).map { _ in operation(&generator) })
        }
        return Step(session: session, action: action)
    }

    private static func operation(_ generator: inout SeededGenerator) -> ZooKeeperOperation {
        let path = paths.randomElement(using: &generator) ?? "/a"
        switch Int.random(in: 0..<8, using: &generator) {
        case 0..<4: return .create(path, data: data(&generator), mode: mode(&generator), acl: acl(&generator))
        case 4..<6: return .delete(path, version: version(&generator))
        case 6: return .set(path, data: data(&generator), version: version(&generator))
        default: return .check(path, version: version(&generator))
        }
    }

    private static func data(_ generator: inout SeededGenerator) -> [UInt8]? {
        let length = Int.random(in: -1...3, using: &generator)
        return length < 0 ? nil : (0..<length).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }

    private static func mode(_ generator: inout SeededGenerator) -> CreateMode {
        let modes: [CreateMode] = [
            .persistent, .persistent, .persistent, .ephemeral, .persistentSequential, .ephemeralSequential,
        ]
        return modes.randomElement(using: &generator) ?? .persistent
    }

    /// Mostly open. Other lists lack only one permission, because the tree must stay changeable.
    private static func acl(_ generator: inout SeededGenerator) -> [ACL] {
        let lacking: [ACL.Permissions] = [[], [], [], [], [], .read, .write, .create, .delete, .admin]
        return [.world(ACL.Permissions.all.subtracting(lacking.randomElement(using: &generator) ?? []))]
    }

    private static func version(_ generator: inout SeededGenerator) -> Int32? {
        [nil, nil, 0, 1, 2].randomElement(using: &generator) ?? nil
    }
}
