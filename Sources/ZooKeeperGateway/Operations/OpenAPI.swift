/// The queue's interface as an OpenAPI 3 document, served as `/openapi.json`.
enum OpenAPI {
    /// The placeholder for the program's version in the resource `openapi.json`, including its quotes.
    private static let versionPlaceholder = #""{version}""#

    /// Returns the document as UTF-8 bytes.
    ///
    /// - Parameter version: the program's version.
    static func document(version: String) -> [UInt8] {
        PackageResources.openapi_json.replacing(
            versionPlaceholder.utf8, with: ResponseBody.json(version).utf8, maxReplacements: 1)
    }
}
