import Foundation
import HTTPTypes
import TestSupport
import Testing
import ZooKeeper

@testable import ZooKeeperGateway

/// Compares `openapi.json` with the routes of the gateway.
@Suite(.timeLimit(.minutes(1)))
struct OpenAPITests {
    /// One operation of the document.
    private struct DocumentedOperation: Sendable {
        let method: String
        let template: String
        /// The names of the parameters in the query.
        let queryNames: [String]
        /// The status codes of the responses.
        let statuses: Set<String>
    }

    private static func operations(in document: some Sequence<UInt8>) throws -> [DocumentedOperation] {
        typealias Object = [String: Any]
        func queryNames(_ object: Object) -> [String] {
            let parameters = object["parameters"] as? [Object] ?? []
            return parameters.filter { $0["in"] as? String == "query" }.compactMap { $0["name"] as? String }
        }
        let object = try #require(try JSONSerialization.jsonObject(with: Data(document)) as? Object)
        let paths = try #require(object["paths"] as? [String: Object])
        return paths.sorted { $0.key < $1.key }.flatMap { template, item in
            // Every other member of a path item is a method.
            item.filter { $0.key != "parameters" }.sorted { $0.key < $1.key }.map { method, value in
                let operation = value as? Object ?? [:]
                return DocumentedOperation(
                    method: method.uppercased(), template: template,
                    queryNames: queryNames(item) + queryNames(operation),
                    statuses: Set((operation["responses"] as? Object ?? [:]).keys))
            }
        }
    }

    /// All routes. A new case does not compile until `path(of:)` has it. Add it here too.
    private static let routes: [QueueRoute] =
        [
            .queue, .messages, .message("{name}"), .move("{name}"), .id("{id}"), .leases, .dead, .redriveAll,
            .redrive("{name}"), .delayed, .delayedMessage("{name}"),
            .runNow("{name}"), .consumers, .release("{node}"), .pause, .resume,
        ]
        + QueueRoute.LeaseAction.allCases.map { .lease("{lease}", $0) }

    /// The segments of a route's path after `/queues/v1`, with the document's placeholders.
    private static func path(of route: QueueRoute) -> [String] {
        switch route {
        case .queue: ["{queue}"]
        case .messages: ["{queue}", "messages"]
        case .message(let name): ["{queue}", "messages", name]
        case .move(let name): ["{queue}", "messages", name, "move"]
        case .id(let id): ["{queue}", "ids", id]
        case .leases: ["{queue}", "leases"]
        case .lease(let id, let action): ["{queue}", "leases", id, action.rawValue]
        case .dead: ["{queue}", "dead"]
        case .redriveAll: ["{queue}", "dead", "redrive"]
        case .redrive(let name): ["{queue}", "dead", name, "redrive"]
        case .delayed: ["{queue}", "delayed"]
        case .delayedMessage(let name): ["{queue}", "delayed", name]
        case .runNow(let name): ["{queue}", "delayed", name, "run-now"]
        case .consumers: ["{queue}", "consumers"]
        case .release(let node): ["{queue}", "consumers", "leases", node, "release"]
        case .pause: ["{queue}", "pause"]
        case .resume: ["{queue}", "resume"]
        }
    }

    private static func line(_ method: String, _ template: String, _ queryNames: [String]) -> String {
        "\(method) \(template)?" + queryNames.sorted().joined(separator: "&")
    }

    @Test("The OpenAPI document lists exactly the gateway's routes, methods and query parameters")
    func documentMatchesRoutes() throws {
        var routed: Set = [Self.line("GET", "/queues/v1", [])]
        for route in Self.routes {
            let segments = Self.path(of: route)
            let parsed = QueueRoute.of(segments)
            #expect(parsed.route == route && parsed.queue == 1)
            let template = "/queues/v1/" + segments.joined(separator: "/")
            for method in route.methods {
                routed.insert(Self.line(method.rawValue, template, route.queryNames(method).map(\.string)))
            }
        }
        let operations = try Self.operations(in: OpenAPI.document(version: "1"))
        let documented = Set(operations.map { Self.line($0.method, $0.template, $0.queryNames) })
        #expect(routed.subtracting(documented).isEmpty, "The document lacks routes.")
        #expect(documented.subtracting(routed).isEmpty, "The gateway lacks routes of the document.")
        #expect(operations.count == documented.count)
    }

    @Test("Each documented operation gets a documented status, and other methods get 405")
    func documentMatchesStatuses() async throws {
        try await withGateway { gateway in
            let operations = try Self.operations(in: try await gateway("GET", "/openapi.json").body.utf8)
            for operation in operations {
                for exists in [true, false] {
                    let path = try await Self.path(operation.template, exists: exists, gateway)
                    let isPause = ["/pause", "/resume"].contains { path.hasSuffix($0) }
                    let body = isPause ? #"{"activities": ["send"]}"# : operation.method == "GET" ? nil : "x"
                    let response = try await gateway(operation.method, path, body: body)
                    #expect(
                        operation.statuses.contains("\(response.status)"), "\(operation.method) \(path): \(response)")
                    #expect(
                        (200..<300).contains(response.status) || !exists, "\(operation.method) \(path): \(response)")
                    #expect(response.status == 204 || response.contentType == "application/json")
                }
            }
            for (template, operations) in Dictionary(grouping: operations, by: \.template) {
                let path = try await Self.path(template, exists: true, gateway)
                let methods = Set(operations.map(\.method))
                for method in Set(["GET", "PUT", "POST", "DELETE", "PATCH"]).subtracting(methods) {
                    let response = try await gateway(method, path, body: method == "GET" ? nil : "x")
                    #expect(response.status == 405, "\(method) \(path)")
                    let allowed = (response.headers[.allow] ?? "").split(separator: ", ").map(String.init)
                    #expect(Set(allowed) == methods, "\(method) \(path)")
                }
            }
        }
    }

    /// Returns the path and the query of a request.
    ///
    /// - Parameter exists: whether the lease, the dead letter or the delayed message in the path exists. Each is new
    ///   for each request, because an earlier request may have settled or removed it.
    private static func path(_ template: String, exists: Bool, _ gateway: TestGateway) async throws -> String {
        let queue = "/queues/v1/q"
        var (lease, token, name) = ("00000000-0000-4000-8000-000000000000", "1", "item-100-2000000000")
        var node = name
        if exists {
            // An earlier request may have paused the queue.
            _ = try await gateway("POST", queue + "/resume")
            for _ in 0..<2 { #expect(try await gateway("POST", queue + "/messages", body: "x").status == 201) }
            let leases = try await gateway.json("POST", queue + "/leases?count=2").fields["leases"] as? [[String: Any]]
            let keys = (leases ?? []).compactMap { lease -> (id: String, token: String)? in
                guard let id = lease["lease"] as? String, let token = lease["token"] as? String else { return nil }
                return (id, token)
            }
            try #require(keys.count == 2)
            let deadLetter = "\(queue)/leases/\(keys[1].id)/dead-letter?token=\(keys[1].token)"
            #expect(try await gateway("POST", deadLetter).status == 204)
            let letters = try await gateway.json("GET", queue + "/dead").fields["messages"] as? [[String: Any]]
            name = try #require(letters?.first?["name"] as? String)
            (lease, token) = keys[0]
            node = try #require(leases?.first?["name"] as? String)
        }
        if template.contains("delayed/") {
            name = "9999999999999-item-100-0000000000"
            if exists {
                let sent = try await gateway.json("POST", queue + "/messages?delayMilliseconds=3600000", body: "x")
                name = try #require((sent.fields["messages"] as? [[String: Any]])?.first?["name"] as? String)
            }
        }
        let id = "\(UInt64.random(in: 0...UInt64.max))"
        if exists, template.contains("messages/") || template.contains("ids/") {
            let headers = ["Content-Type": "application/octet-stream", "Idempotency-Key": id]
            #expect(try await gateway("POST", queue + "/messages", headers: headers, body: "x").status == 201)
            name = try #require(try await gateway.json("GET", queue + "/ids/\(id)").fields["name"] as? String)
        }
        let path = template.replacing("{id}", with: id).replacing("{queue}", with: "q").replacing(
            "{lease}", with: lease
        )
        .replacing("{name}", with: name).replacing("{node}", with: node)
        if template.hasSuffix("/move") { return path + "?priority=7" }
        return template.contains("{lease}") ? path + "?token=\(token)" : path
    }
}
