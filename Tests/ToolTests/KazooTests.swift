import Foundation
import Subprocess
import SystemPackage
import TestSupport
import Testing

private let isKazooInstalled = FileManager.default.fileExists(atPath: "/usr/lib/python3/dist-packages/kazoo")

/// A producer in another language, which follows the wire format.
@Suite(.timeLimit(.minutes(2)), .enabled(if: isKazooInstalled, "make kazoo installs kazoo"))
struct KazooTests {
    private static let script = FilePath(
        URL(filePath: #filePath).appending(path: "../../../Examples/Kazoo/send_to_group.py").standardized
            .path(percentEncoded: false))

    private func send(_ address: String, _ key: String, _ messages: [String]) async throws -> [String] {
        let result = try await run(
            .path("/usr/bin/python3"), arguments: Arguments([Self.script.string, address, "/queue", key] + messages),
            output: .string(limit: 1 << 16), error: .string(limit: 1 << 16))
        #expect(result.terminationStatus.isSuccess, "\(result.standardError)")
        return result.standardOutput.split(separator: "\n").map(String.init)
    }

    @Test("A producer in Python sends to a group, beside one in Swift, and the order holds")
    func sendToGroup() async throws {
        let address = try await TestServer.address()
        let zkq = Tool(address: address)
        #expect(try await zkq("put", "--group", "customer/ü.4", "1", "2").isSuccess)
        let paths = try await send(address, "customer/ü.4", ["3", "4"])
        #expect(paths.first?.hasSuffix("/queue/groups/customer%2F%C3%BC%2E4/item-100-0000000001") ?? false, "\(paths)")
        #expect(try await zkq("put", "--group", "customer/ü.4", "5").isSuccess)
        #expect(try await send(address, "other", ["a", "b"]).first?.contains("/queue/items/item-100-") ?? false)
        let taken = try await zkq("take", "--count", "7", "--wait", "5").lines
        #expect(taken.filter { Int($0) != nil } == ["1", "2", "3", "4", "5"], "\(taken)")
        #expect(taken.filter { Int($0) == nil } == ["a", "b"])
        #expect(try await zkq("stats", "--json").output.contains(#""groups":0"#))
    }
}
