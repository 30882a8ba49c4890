import Foundation
import Testing

/// The code in the documentation is compiled.
struct SnippetTests {
    /// Lines of code without their common indentation, and where they begin.
    private struct Block: CustomStringConvertible {
        let file: String
        let line: Int
        let code: [String]

        init(file: String, line: Int, lines: [Substring]) {
            (self.file, self.line) = (file, line)
            let indentation = lines.filter { !$0.allSatisfy(\.isWhitespace) }.map { $0.prefix { $0 == " " }.count }
                .min()
            code = lines.map { String($0.dropFirst(indentation ?? 0)) }
        }

        var description: String { "\(file):\(line)\n" + code.map { "    \($0)" }.joined(separator: "\n") }
    }

    private static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    @Test("Every Swift block of the README, the articles and the comments is a slice of a compiled snippet")
    func blocksAreSlices() throws {
        let sources = try Self.files(below: "Sources")
        let articles = ["README.md"] + sources.filter { $0.hasSuffix(".md") }
        let comments = sources.filter { $0.hasSuffix(".swift") && !$0.contains(".docc/") }
        let blocks =
            try articles.flatMap { try Self.blocks(in: $0, prefix: "") }
            + comments.flatMap { try Self.blocks(in: $0, prefix: "///") }
        // A part of a manifest is no program.
        let programs = blocks.filter { $0.code.first != "// Package.swift" }
        let snippets = try Self.files(below: "Snippets") + ["Tests/ZooKeeperJobsTests/JobSnippetTests.swift"]
        let slices = try snippets.flatMap { try Self.slices(in: $0) }

        let compiled = Set(slices.map(\.code))
        let missing = programs.filter { !compiled.contains($0.code) }
        print("\(programs.count) Swift blocks in the documentation, \(slices.count) slices of snippets")
        #expect(missing.isEmpty, "Not in Snippets:\n\(missing.map(\.description).joined(separator: "\n"))")

        let shown = Set(programs.map(\.code))
        let unused = slices.filter { !shown.contains($0.code) }
        #expect(unused.isEmpty, "Not in the documentation:\n\(unused.map(\.description).joined(separator: "\n"))")
    }

    @Test("Every code file of the tutorial is shown by a step, and is a target of the package")
    func tutorialIsCompiled() throws {
        let catalog = "Sources/ZooKeeperQueue/Documentation.docc"
        let files = Set(
            try Self.files(below: catalog + "/Resources").filter { $0.hasSuffix(".swift") }
                .map { URL(filePath: $0).lastPathComponent })
        let steps = try Self.files(below: catalog + "/Tutorials").flatMap { try Self.lines(of: $0) }
            .compactMap { $0.firstMatch(of: /@Code\(.*file: "([^"]+)"\)/).map { String($0.output.1) } }
        let manifest = try Self.lines(of: "Package.swift")
            .flatMap { $0.matches(of: /"(order-service-[^"]+\.swift)"/).map { String($0.output.1) } }
        #expect(!files.isEmpty)
        #expect(Set(steps) == files)
        #expect(Set(manifest) == files)
    }

    // MARK: Files

    /// Returns the paths of the files in a folder and its subfolders, relative to the repository's root.
    private static func files(below folder: String) throws -> [String] {
        let paths = try FileManager.default.subpathsOfDirectory(
            atPath: root.appending(path: folder).path(percentEncoded: false))
        return paths.sorted().map { "\(folder)/\($0)" }
    }

    /// Returns the lines of a file; none for a folder.
    private static func lines(of path: String) throws -> [Substring] {
        let url = root.appending(path: path)
        guard !url.hasDirectoryPath, let text = try? String(contentsOf: url, encoding: .utf8) else { return [] }
        return text.split(separator: "\n", omittingEmptySubsequences: false)
    }

    // MARK: Blocks and slices

    /// Returns the Swift blocks of a file, out of the lines that begin with `prefix`.
    private static func blocks(in path: String, prefix: String) throws -> [Block] {
        var blocks: [Block] = []
        var open: (line: Int, lines: [Substring])?
        for (number, line) in try lines(of: path).enumerated() {
            let text = line.drop { $0 == " " }
            guard text.hasPrefix(prefix) else {
                open = nil
                continue
            }
            let content = prefix.isEmpty ? line : text.dropFirst(prefix.count)
            let marker = content.drop { $0 == " " }
            if let (start, lines) = open, marker.hasPrefix("```") {
                blocks.append(Block(file: path, line: start, lines: lines))
                open = nil
            } else if open != nil {
                open?.lines.append(content)
            } else if marker == "```swift" {
                open = (number + 1, [])
            }
        }
        return blocks
    }

    /// Returns the slices of a snippet file, from `// snippet.NAME` to `// snippet.end`.
    private static func slices(in path: String) throws -> [Block] {
        var slices: [Block] = []
        var open: (line: Int, lines: [Substring])?
        for (number, line) in try lines(of: path).enumerated() {
            let text = line.drop { $0 == " " }
            if text == "// snippet.end" {
                if let (start, lines) = open { slices.append(Block(file: path, line: start, lines: lines)) }
                open = nil
            } else if text.hasPrefix("// snippet.") {
                open = (number + 1, [])
            } else {
                open?.lines.append(line)
            }
        }
        return slices
    }
}
