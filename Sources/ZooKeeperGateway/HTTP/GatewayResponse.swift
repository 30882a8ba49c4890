import HTTPTypes
import HummingbirdCore
import NIOCore

/// A response to a request. It can be thrown, which ends the request early.
struct GatewayResponse: Error {
    var status: HTTPResponse.Status
    var headers: HTTPFields = [:]
    var body: [UInt8] = []

    init(_ status: HTTPResponse.Status) { self.status = status }

    /// Returns a response with status 405.
    ///
    /// - Parameter allowed: the methods that the resource supports.
    static func methodNotAllowed(_ allowed: String) -> GatewayResponse {
        var answer = GatewayResponse(.methodNotAllowed)
        answer.headers[.allow] = allowed
        return answer
    }

    /// Creates a response without a body, but with the content type that a body would have.
    init(_ status: HTTPResponse.Status, _ format: MediaType) {
        self.status = status
        headers[.contentType] = format.contentType
    }

    init(_ status: HTTPResponse.Status, _ format: MediaType, bytes: [UInt8]) {
        self.init(status, format)
        body = bytes
    }

    /// - Parameter callback: the JavaScript function to call.
    init(_ status: HTTPResponse.Status, _ format: MediaType, _ document: ResponseBody, callback: String = "callback") {
        let text =
            switch format {
            case .json: document.json
            case .javascript: "\(callback)(\(document.json))"
            case .xml: document.xml
            case .octets: document.fields.map { "\($0.value)" }.joined(separator: "\n")
            }
        self.init(status, format, bytes: Array(text.utf8))
    }

    /// Creates an error response in the client's media type.
    init(_ status: HTTPResponse.Status, _ format: MediaType, _ message: String, _ request: GatewayRequest) {
        if format == .octets {
            self.init(status, format, bytes: Array("\(request.server)\(request.rawURL): \(message)\n".utf8))
        } else {
            let document = ResponseBody(
                "error", ["request": .text(request.server + request.rawURL), "message": .text(message)])
            self.init(status, format, document)
        }
    }

    /// Returns an error response in JSON: a short name for programs, and a message.
    static func problem(_ status: HTTPResponse.Status, _ error: String, _ message: String) -> GatewayResponse {
        GatewayResponse(status, .json, ResponseBody("problem", ["error": .text(error), "message": .text(message)]))
    }

    /// The response as Hummingbird sends it.
    var response: Response {
        var headers = headers
        // Keeps browsers from guessing another type, which could be a script's.
        headers[.xContentTypeOptions] = "nosniff"
        let isEmpty = body.isEmpty || status == .noContent
        return Response(
            status: status, headers: headers, body: isEmpty ? .init() : .init(byteBuffer: ByteBuffer(bytes: body)))
    }
}
