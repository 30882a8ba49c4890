import Foundation
import ProtocolFuzzing
import Testing

/// The inputs that a fuzzer has found, each of which reaches other code (`make fuzz`).
@Suite
struct CorpusTests {
    @Test("Each kept conversation of the fuzzer ends every request once, and does not trap")
    func corpus() throws {
        let folder = try #require(Bundle.module.resourceURL).appending(path: "Corpus")
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        for file in files { try Data(contentsOf: file).withUnsafeBytes { Conversation.play($0) } }
        #expect(files.count > 50)
    }
}
