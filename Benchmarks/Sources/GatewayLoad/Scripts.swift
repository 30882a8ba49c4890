import Foundation
import NIOCore
import NIOHTTP1

/// The requests that one connection sends, one after the other.
protocol Script: Sendable {
    /// Returns the next step.
    ///
    /// - Parameter response: the response to the previous request; `nil` for the first.
    mutating func next(after response: Response?) -> Step
}

struct Step {
    /// The next request; `nil` when the response is not as it should be.
    var request: Request?
    /// Whether the previous response has completed the work on a message.
    var isWorkDone = false
    /// Whether the script may end here, because it holds no lease that would have to be requeued.
    var mayEnd = true
}

struct Request {
    var path: String
    var body: ByteBuffer?
}

struct Response {
    let status: Int
    let body: ByteBuffer
}

struct PutScript: Script {
    let payload: [UInt8]

    mutating func next(after response: Response?) -> Step {
        if let response, response.status != 201 { return Step() }
        let request = Request(path: "/queues/v1/http/messages", body: ByteBuffer(bytes: payload))
        return Step(request: request, isWorkDone: response != nil)
    }
}

/// Leases a message and acknowledges it.
struct TakeScript: Script {
    private struct Leases: Decodable {
        struct Lease: Decodable { let lease, token: String }
        let leases: [Lease]
    }

    mutating func next(after response: Response?) -> Step {
        let lease = Request(path: "/queues/v1/http/leases?count=1&seconds=60")
        guard let response else { return Step(request: lease) }
        if response.status == 204 { return Step(request: lease, isWorkDone: true) }
        guard response.status == 200,
            let leases = try? JSONDecoder().decode(Leases.self, from: Data(response.body.readableBytesView))
        else { return Step() }
        guard let first = leases.leases.first else { return Step(request: lease) }
        let acknowledge = Request(path: "/queues/v1/http/leases/\(first.lease)/acknowledge?token=\(first.token)")
        return Step(request: acknowledge, mayEnd: false)
    }
}
