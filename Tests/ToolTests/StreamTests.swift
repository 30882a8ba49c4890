import Foundation
import Subprocess
import SystemPackage
import TestSupport
import Testing
import ZooKeeper

/// Tests unusual streams and arguments.
@Suite(.timeLimit(.minutes(2)))
struct StreamTests {
    @Test("Unreadable input and a closed output are errors")
    func unusableStreams() async throws {
        let zkq = Tool(address: try await TestServer.address())
        for (script, reason) in [
            ("\"$0\" put --lines < /", "Is a directory"), ("\"$0\" put --lines <&-", "Bad file descriptor"),
        ] {
            let result = try await zkq.shell(script)
            #expect(!result.isSuccess && result.output.isEmpty)
            #expect(result.error.contains("Line 1 of stdin cannot be read: \(reason)"), "\(result.error)")
        }
        let closed = try await zkq.shell("\"$0\" put a >&-")
        #expect(!closed.isSuccess && closed.error.contains("stdout"), "\(closed.error)")
    }

    @Test("A line that is too long for a message is refused before its end")
    func longLine() async throws {
        let zkq = Tool(address: try await TestServer.address())
        let start = ContinuousClock.now
        let result = try await zkq.shell(
            "(printf 'a\\nb\\n'; head -c 100000000 /dev/zero | tr '\\0' x) | \"$0\" put --lines")
        #expect(start.duration(to: .now) < .seconds(20))
        #expect(!result.isSuccess && result.lines.count == 2)
        #expect(result.error.contains("Line 3 of stdin is longer than"), "\(result.error)")
        #expect(try await zkq("take", "--wait", "0").output == "a\nb\n")
        // A line below the limit is stored, although it arrives in pieces.
        let most = String(repeating: "x", count: 500_000)
        #expect(try await zkq("put", "--lines", input: "\(most)\nc").lines.count == 2)
        #expect(try await zkq("take", "--wait", "0").output == "\(most)\nc\n")
    }

    @Test("An argument that is not UTF-8 is refused, and the same bytes are accepted from stdin")
    func invalidUTF8() async throws {
        let zkq = Tool(address: try await TestServer.address())
        let result = try await zkq.shell("\"$0\" put \"$(printf 'a\\377')\"")
        #expect(!result.isSuccess && result.output.isEmpty && result.error.contains("not UTF-8"), "\(result.error)")
        #expect(try await zkq.shell("printf 'a\\377' | \"$0\" put --lines").isSuccess)
        #expect(try await zkq("peek", "--format", "json").output.contains("\"payloadBase64\":\"Yf8=\""))
    }

    @Test("zkq put waits for lines on a non-blocking input")
    func nonBlockingInput() async throws {
        let zkq = Tool(address: try await TestServer.address())
        let pipe = try Self.pipe(nonBlocking: .readEnd)
        let result = try await run(
            .path(Tool.path), arguments: ["put", "--lines"], environment: zkq.environment,
            input: .fileDescriptor(pipe.readEnd, closeAfterSpawningProcess: true), output: .sequence,
            error: .string(limit: 1 << 16)
        ) { execution in
            var names = execution.standardOutput.strings().makeAsyncIterator()
            // After it has printed a name, the tool finds no input until the next line is written.
            for number in 0..<3 {
                try pipe.writeEnd.writeAll("\(number)\n".utf8)
                #expect(try await names.next() == "item-100-000000000\(number)")
            }
            try pipe.writeEnd.close()
            #expect(try await names.next() == nil)
        }
        #expect(result.terminationStatus.isSuccess, "\(result.standardError)")
    }

    @Test("zkq take waits until a non-blocking output accepts more")
    func nonBlockingOutput() async throws {
        let zkq = Tool(address: try await TestServer.address())
        // Each line is longer than a pipe can buffer.
        let lines = (1...5).map { String(repeating: "\($0)", count: 200_000) + "\n" }.joined()
        #expect(try await zkq("put", "--lines", input: lines).lines.count == 5)
        let pipe = try Self.pipe(nonBlocking: .writeEnd)
        let reading = Task.detached { FileHandle(fileDescriptor: pipe.readEnd.rawValue).readDataToEndOfFile() }
        let result = try await run(
            .path(Tool.path), arguments: ["take", "--count", "5"], environment: zkq.environment, input: .none,
            output: .fileDescriptor(pipe.writeEnd, closeAfterSpawningProcess: true), error: .string(limit: 1 << 16))
        #expect(result.terminationStatus.isSuccess, "\(result.standardError)")
        #expect(String(decoding: await reading.value, as: UTF8.self) == lines)
        try pipe.readEnd.close()
    }

    private enum End { case readEnd, writeEnd }

    /// Returns a pipe with one non-blocking end.
    private static func pipe(nonBlocking end: End) throws -> (readEnd: FileDescriptor, writeEnd: FileDescriptor) {
        let ends = try FileDescriptor.pipe()
        let descriptor = (end == .readEnd ? ends.readEnd : ends.writeEnd).rawValue
        try #require(fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK) == 0)
        return ends
    }
}
