import HTTPTypes
import HummingbirdCore
import NIOCore

/// What is answered to a request. It can be thrown, where there is nothing more to do.
struct Answer: Error {
    var status: HTTPResponse.Status
    var headers: HTTPFields = [:]
    var body: [UInt8] = []

    init(_ status: HTTPResponse.Status) { self.status = status }

    /// The resource does not know the method.
    ///
    /// - Parameter allowed: those that it knows.
    static func methodNotAllowed(_ allowed: String) -> Answer {
        var answer = Answer(.methodNotAllowed)
        answer.headers[.allow] = allowed
        return answer
    }

    /// Without a body, but with the type that one would have.
    init(_ status: HTTPResponse.Status, _ format: Format) {
        self.status = status
        headers[.contentType] = format.contentType
    }

    init(_ status: HTTPResponse.Status, _ format: Format, bytes: [UInt8]) {
        self.init(status, format)
        body = bytes
    }

    /// - Parameter callback: the function of JavaScript to call.
    init(_ status: HTTPResponse.Status, _ format: Format, _ document: Document, callback: String = "callback") {
        let text =
            switch format {
            case .json: document.json
            case .javascript: "\(callback)(\(document.json))"
            case .xml: document.xml
            case .octets: document.fields.map { "\($0.value)" }.joined(separator: "\n")
            }
        self.init(status, format, bytes: Array(text.utf8))
    }

    /// Something is wrong, which is said in the client's form.
    init(_ status: HTTPResponse.Status, _ format: Format, _ message: String, _ request: GatewayRequest) {
        if format == .octets {
            self.init(status, format, bytes: Array("\(request.server)\(request.rawURL): \(message)\n".utf8))
        } else {
            let document = Document(
                "error", ["request": .text(request.server + request.rawURL), "message": .text(message)])
            self.init(status, format, document)
        }
    }

    /// Reports an error in JSON: a short name for programs, and a message.
    static func problem(_ status: HTTPResponse.Status, _ error: String, _ message: String) -> Answer {
        Answer(status, .json, Document("problem", ["error": .text(error), "message": .text(message)]))
    }

    /// For hummingbird.
    var response: Response {
        var headers = headers
        // No browser guesses another type, which could be a script's.
        headers[.xContentTypeOptions] = "nosniff"
        let isEmpty = body.isEmpty || status == .noContent
        return Response(
            status: status, headers: headers, body: isEmpty ? .init() : .init(byteBuffer: ByteBuffer(bytes: body)))
    }
}
