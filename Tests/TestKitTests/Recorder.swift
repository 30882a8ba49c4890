@testable import ZooKeeper

/// Runs steps on one ZooKeeper, and describes what a client sees of them. The description leaves out what differs from
/// run to run: zxids count from the first one, sessions have small numbers, and times are omitted.
struct Recorder {
    private let open: () async throws -> any Machine
    private let root: String
    private var machines: [any Machine] = []
    private var names: [Int64: Int] = [0: 0]
    private var firstZxid: Int64 = 0
    private var signals: [[WatchKey: WatchSignal]] = []
    private let distort: (Step) -> Step

    /// - Parameter distort: Changes a step before it runs, to show that a difference is found.
    init(
        below root: String, distort: @escaping (Step) -> Step = { $0 }, open: @escaping () async throws -> any Machine
    ) async throws {
        self.root = root
        self.open = open
        self.distort = distort
        for index in 0..<Step.sessions {
            machines.append(try await open())
            names[machines[index].sessionID] = names.count
            signals.append(addSignals(machines[index]))
        }
        firstZxid = try await machines[0].create(root, data: [], mode: .persistent).stat.czxid
    }

    func end() async { for machine in machines { await machine.end() } }

    private func addSignals(_ machine: any Machine) -> [WatchKey: WatchSignal] {
        var signals: [WatchKey: WatchSignal] = [:]
        for path in [""] + Step.paths {
            for kind in [WatchKey.Kind.data, .existence, .children] {
                let signal = WatchSignal()
                machine.table.add(signal, for: [WatchKey(kind: kind, path: machine.full(root + path))])
                signals[WatchKey(kind: kind, path: path)] = signal
            }
        }
        return signals
    }

    /// Runs a step.
    ///
    /// - Returns: What the clients see: the result, and each session's events.
    mutating func run(_ step: Step) async throws -> String {
        let step = distort(step)
        let machine = machines[step.session]
        var seen: String
        do {
            seen = try await result(of: step, machine)
        } catch let error as ZooKeeperError {
            seen = "refused: \(error.code.rawValue) \(error.operationIndex.map(String.init) ?? "-") \(error.outcome)"
        }
        guard step.isWrite else { return seen }
        for (index, machine) in machines.enumerated() {
            // The server sends the events before its response to the sync.
            try await machine.sync(root)
            let raised = signals[index].filter { $0.value.isRaised }
                .map { ExactString("\($0.key.kind) \($0.key.path)") }.sorted()
            for signal in signals[index].values { signal.clear() }
            if !raised.isEmpty { seen += "; events of session \(index): \(raised)" }
        }
        return seen
    }

    private mutating func result(of step: Step, _ machine: any Machine) async throws -> String {
        switch step.action {
        case .create(let path, let data, let mode):
            let node = try await machine.create(root + path, data: data, mode: mode)
            return "created \(node.path.dropFirst(root.count)) \(text(node.stat))"
        case .delete(let path, let version):
            try await machine.delete(root + path, version: version)
            return "deleted"
        case .set(let path, let data, let version):
            return text(try await machine.set(root + path, data: data, version: version))
        case .get(let path, let watch):
            let node = try await machine.node(root + path, watch: watch)
            return "\(String(describing: node.data)) \(text(node.stat))"
        case .exists(let path, let watch):
            return try await machine.stat(root + path, watch: watch).map(text) ?? "absent"
        case .children(let path, let watch):
            let children = try await machine.children(root + path, watch: watch)
            return "\(children.names.map { ExactString($0) }.sorted()) \(text(children.stat))"
        case .acl(let path): return "\(try await machine.acl(root + path))"
        case .setACL(let path, let acl, let version):
            try await machine.setACL(root + path, acl, version: version)
            return "list set"
        case .sync:
            try await machine.sync(root)
            return "synced"
        case .multi(let operations):
            let results = try await machine.multi(operations.map { $0.below(root) })
            return results.map { result in
                switch result {
                case .created(let path): "created \(path.dropFirst(root.count))"
                case .set(let stat): text(stat)
                case .deleted, .checked: "\(result)"
                }
            }.joined(separator: ", ")
        case .reopen:
            await machine.end()
            machines[step.session] = try await open()
            names[machines[step.session].sessionID] = names.count
            signals[step.session] = addSignals(machines[step.session])
            return "reopened"
        }
    }

    private func text(_ stat: Stat) -> String {
        let zxids = [stat.czxid, stat.mzxid, stat.pzxid].map { $0 - firstZxid }
        let owner = names[stat.ephemeralOwner].map(String.init) ?? "unknown"
        return "zxids \(zxids) versions \([stat.version, stat.cversion, stat.aversion]) owner \(owner) "
            + "length \(stat.dataLength) children \(stat.numChildren)"
    }
}

extension ZooKeeperOperation {
    fileprivate func below(_ root: String) -> ZooKeeperOperation {
        switch self {
        case .create(let path, let data, let mode, let acl): .create(root + path, data: data, mode: mode, acl: acl)
        case .delete(let path, let version): .delete(root + path, version: version)
        case .set(let path, let data, let version): .set(root + path, data: data, version: version)
        case .check(let path, let version): .check(root + path, version: version)
        }
    }
}
