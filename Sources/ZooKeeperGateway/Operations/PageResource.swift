import HTTPTypes

/// A small page: the queues, what is in them, and their dead letters. It has no outside resources.
enum PageResource {
    /// - Parameters:
    ///   - path: behind the endpoint's prefix.
    ///   - version: the program's.
    /// - Returns: `nil` for another path.
    static func answer(_ path: Substring, _ method: HTTPRequest.Method, version: String) -> Answer? {
        let (type, text): (String, String)
        switch path {
        case "/": (type, text) = ("text/html; charset=utf-8", Page.html)
        case "/page.css": (type, text) = ("text/css; charset=utf-8", Page.style)
        case "/page.js": (type, text) = ("text/javascript; charset=utf-8", Page.script)
        case "/openapi.json": (type, text) = (Format.json.contentType, OpenAPI.text(version: version))
        default: return nil
        }
        guard method == .get || method == .head else { return .methodNotAllowed("GET, HEAD") }
        var answer = Answer(.ok)
        answer.headers[.contentType] = type
        answer.headers[.contentSecurityPolicy] =
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
            + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        answer.headers[.cacheControl] = "no-cache"
        answer.body = Array(text.utf8)
        return answer
    }
}
