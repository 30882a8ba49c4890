#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The folder for an ensemble's data: the caller's, or a temporary one.
struct LocalDirectory: Sendable {
    let path: String
    let isTemporary: Bool

    init(_ given: String?) throws {
        isTemporary = given == nil
        let url =
            given.map { URL(filePath: $0, directoryHint: .isDirectory).absoluteURL }
            ?? FileManager.default.temporaryDirectory.appending(path: "zookeeper-\(UUID().uuidString)")
        path = url.path(percentEncoded: false).trimmingSuffix("/")
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw LocalServerError(
                description:
                    "The folder \(path) cannot be created: \(error). Choose another one, or check the permissions.")
        }
    }

    func remove() {
        if isTemporary { try? FileManager.default.removeItem(atPath: path) }
    }
}

extension String {
    fileprivate func trimmingSuffix(_ suffix: String) -> String {
        hasSuffix(suffix) ? String(dropLast(suffix.count)) : self
    }
}
