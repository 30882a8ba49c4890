import HTTPTypes

/// The dashboard, which shows the queues, their counts, their delayed messages and their dead letters, and the OpenAPI
/// document. It loads nothing from other sites.
enum DashboardResource {
    /// Responds to a request for the dashboard or the document.
    ///
    /// - Parameters:
    ///   - path: the path after the endpoint's prefix.
    ///   - version: the program's version.
    /// - Returns: `nil` for any other path.
    static func respond(to path: Substring, _ method: HTTPRequest.Method, version: String) -> GatewayResponse? {
        let (type, body): (String, [UInt8])
        switch path {
        case "/": (type, body) = ("text/html; charset=utf-8", Array(Dashboard.html.utf8))
        case "/page.css": (type, body) = ("text/css; charset=utf-8", Array(Dashboard.style.utf8))
        case "/page.js": (type, body) = ("text/javascript; charset=utf-8", Array(Dashboard.script.utf8))
        case "/openapi.json": (type, body) = (MediaType.json.contentType, OpenAPI.document(version: version))
        default: return nil
        }
        guard method == .get || method == .head else { return .methodNotAllowed("GET, HEAD") }
        var response = GatewayResponse(.ok)
        response.headers[.contentType] = type
        response.headers[.contentSecurityPolicy] =
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
            + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        response.headers[.cacheControl] = "no-cache"
        response.body = body
        return response
    }
}
