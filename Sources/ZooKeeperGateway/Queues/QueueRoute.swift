import HTTPTypes
import ZooKeeper

/// A resource below `/queues/v1`, parsed from the path of a request.
enum QueueRoute: Hashable {
    enum LeaseAction: String, CaseIterable {
        case acknowledge, requeue = "give-back", deadLetter = "dead-letter", extend
    }

    case queue
    case messages
    case message(String)
    case move(String)
    case id(String)
    case leases
    case lease(String, LeaseAction)
    case dead
    case redriveAll
    case redrive(String)
    case delayed
    case delayedMessage(String)
    case runNow(String)
    case consumers
    case release(String)
    case pause
    case resume

    /// The methods that the resource supports.
    var methods: [HTTPRequest.Method] {
        switch self {
        case .queue, .delayed, .consumers: [.get]
        case .messages: [.get, .post, .delete]
        case .dead, .message, .id: [.get, .delete]
        case .delayedMessage: [.delete]
        case .leases, .lease, .move, .redriveAll, .redrive, .runNow, .release, .pause, .resume: [.post]
        }
    }

    /// Returns the query parameters that a request with this method may have.
    func queryNames(_ method: HTTPRequest.Method) -> Set<ExactString> {
        switch (self, method) {
        case (.queue, _): ["age"]
        case (.messages, .get), (.dead, .get), (.delayed, _): ["limit"]
        case (.messages, .post):
            ["priority", "delayMilliseconds", "deliverAt", "expiresAfterMilliseconds", "expiresAt", "group"]
        case (.move, _): ["priority"]
        case (.leases, _): ["count", "wait", "seconds"]
        case (.lease(_, .acknowledge), _): ["token"]
        case (.lease(_, .extend), _): ["token", "seconds"]
        case (.lease(_, .requeue), _): ["token", "reason", "delayMilliseconds"]
        case (.lease(_, .deadLetter), _): ["token", "reason"]
        case (.messages, _), (.message, _), (.id, _), (.dead, _), (.redriveAll, _), (.redrive, _), (.delayedMessage, _),
            (.runNow, _),
            (.consumers, _), (.release, _), (.pause, _), (.resume, _):
            []
        }
    }

    /// Parses a path.
    ///
    /// - Parameter segments: the decoded segments of the path.
    /// - Returns: the route, and how many of the segments form the queue's path. The remaining segments name the route.
    static func of(_ segments: [String]) -> (route: QueueRoute, queue: Int) {
        let count = segments.count
        func at(_ fromEnd: Int) -> String? { count > fromEnd ? segments[count - 1 - fromEnd] : nil }
        // An ID can be any word.
        if at(1) == "ids", let id = at(0) { return (.id(id), count - 2) }
        if at(2) == "leases", let id = at(1), let action = at(0).flatMap(LeaseAction.init) {
            return (.lease(id, action), count - 3)
        }
        if at(3) == "consumers", at(2) == "leases", let name = at(1), at(0) == "release" {
            return (.release(name), count - 4)
        }
        if at(2) == "dead", let name = at(1), at(0) == "redrive" { return (.redrive(name), count - 3) }
        if at(2) == "delayed", let name = at(1), at(0) == "run-now" { return (.runNow(name), count - 3) }
        if at(2) == "messages", let name = at(1), at(0) == "move" { return (.move(name), count - 3) }
        if at(1) == "dead", at(0) == "redrive" { return (.redriveAll, count - 2) }
        switch at(0) {
        case "messages": return (.messages, count - 1)
        case "leases": return (.leases, count - 1)
        case "dead": return (.dead, count - 1)
        case "delayed": return (.delayed, count - 1)
        case "consumers": return (.consumers, count - 1)
        case "pause": return (.pause, count - 1)
        case "resume": return (.resume, count - 1)
        case let name? where at(1) == "delayed": return (.delayedMessage(name), count - 2)
        case let name? where at(1) == "messages": return (.message(name), count - 2)
        default: return (.queue, count)
        }
    }
}
