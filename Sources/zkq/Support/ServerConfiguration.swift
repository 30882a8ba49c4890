#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Finds settings in a server's configuration file that harm a queue. Servers do not
/// report these settings over the network.
struct ServerConfiguration {
    private var values: [String: String] = [:]

    /// Reads a file.
    ///
    /// - Throws: ``ToolError`` when the file cannot be read.
    init(file: String) throws {
        guard let data = FileManager.default.contents(atPath: file) else {
            throw ToolError(unreadableFile: file, of: "--server-config")
        }
        self.init(String(decoding: data, as: UTF8.self))
    }

    /// Parses lines of Java properties, as far as ZooKeeper's files use them.
    init(_ text: String) {
        for line in text.split(whereSeparator: \.isNewline) {
            let line = line.trimming(\.isWhitespace)
            guard !line.hasPrefix("#"), !line.hasPrefix("!"), let mark = line.firstIndex(where: { "=:".contains($0) })
            else { continue }
            let value = line[line.index(after: mark)...].trimming(\.isWhitespace)
            values[line[..<mark].trimming(\.isWhitespace)] = value
        }
    }

    var warnings: [String] {
        var warnings: [String] = []
        if (values["autopurge.purgeInterval"].flatMap { Int($0) } ?? 0) <= 0 {
            warnings.append(
                "autopurge is off: the server keeps every snapshot and log until its disk is full. Set "
                    + "autopurge.purgeInterval to 1.")
        }
        if (values["forceSync"] ?? "yes").lowercased() == "no" {
            warnings.append(
                "forceSync=no: the server confirms messages before they are on disk, and loses them in a power "
                    + "failure. Remove the setting.")
        }
        return warnings
    }
}
