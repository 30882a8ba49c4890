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
        var response = GatewayResponse(.methodNotAllowed)
        response.headers[.allow] = allowed
        return response
    }

    /// Creates a response without a body, but with the content type that a body would have.
    init(_ status: HTTPResponse.Status, _ mediaType: MediaType) {
        self.status = status
        headers[.contentType] = mediaType.contentType
    }

    init(_ status: HTTPResponse.Status, _ mediaType: MediaType, bytes: [UInt8]) {
        self.init(status, mediaType)
        body = bytes
    }

    /// - Parameter callback: the JavaScript function to call.
    init(
        _ status: HTTPResponse.Status, _ mediaType: MediaType, _ content: ResponseBody, callback: String = "callback"
    ) {
        let text =
            switch mediaType {
            case .json: content.json
            case .javascript: "\(callback)(\(content.json))"
            case .xml: content.xml
            case .octets: content.fields.map { "\($0.value)" }.joined(separator: "\n")
            }
        self.init(status, mediaType, bytes: Array(text.utf8))
    }

    /// Creates an error response in the client's media type.
    init(_ status: HTTPResponse.Status, _ mediaType: MediaType, _ message: String, _ request: GatewayRequest) {
        if mediaType == .octets {
            self.init(status, mediaType, bytes: Array("\(request.server)\(request.rawURL): \(message)\n".utf8))
        } else {
            let content = ResponseBody(
                "error", ["request": .text(request.server + request.rawURL), "message": .text(message)])
            self.init(status, mediaType, content)
        }
    }

    /// Returns an error response in JSON: a short name for programs, and a message.
    static func problem(_ status: HTTPResponse.Status, _ error: String, _ message: String) -> GatewayResponse {
        GatewayResponse(status, .json, ResponseBody("problem", ["error": .text(error), "message": .text(message)]))
    }

    /// The response as Hummingbird sends it.
    var httpResponse: Response {
        var headers = headers
        // Keeps browsers from guessing another type, which could be a script's.
        headers[.xContentTypeOptions] = "nosniff"
        let isEmpty = body.isEmpty || status == .noContent
        return Response(
            status: status, headers: headers, body: isEmpty ? .init() : .init(byteBuffer: ByteBuffer(bytes: body)))
    }
}
