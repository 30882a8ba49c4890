import Testing

@testable import ZooKeeperQueue

/// The pauses between attempts at a skipped node.
struct SkippedNodesTests {
    @Test("The pause doubles up to five minutes, and starts over after a repair")
    func pauses() {
        var nodes = SkippedNodes()
        var now = Duration.zero
        let isNew = nodes.skip("a", in: "/items", .hasChildren, at: now)
        #expect(isNew)
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            #expect(nodes.isSkipped("a", in: "/items", at: now + .seconds(seconds) - .milliseconds(1)))
            now += .seconds(seconds)
            #expect(!nodes.isSkipped("a", in: "/items", at: now))
            let isNewAgain = nodes.skip("a", in: "/items", .hasChildren, at: now)
            #expect(!isNewAgain)
        }
        let wasSkipped = nodes.handled("a", in: "/items")
        #expect(wasSkipped && nodes.count == 0)
        _ = nodes.skip("a", in: "/items", .hasChildren, at: now)
        #expect(!nodes.isSkipped("a", in: "/items", at: now + .seconds(1)))
    }

    @Test("A node that has left its folder is forgotten, and names are compared by their bytes")
    func removedNodes() {
        var nodes = SkippedNodes()
        let (composed, decomposed) = ("\u{E9}", "e\u{301}")
        for name in [composed, decomposed, "x"] { _ = nodes.skip(name, in: "/items", .unknownName, at: .zero) }
        _ = nodes.skip("x", in: "/dead", .unknownName, at: .zero)
        #expect(nodes.count == 4)
        nodes.keep([composed], in: "/items")
        #expect(nodes.count == 2)
        #expect(nodes.isSkipped(composed, in: "/items", at: .zero))
        #expect(!nodes.isSkipped(decomposed, in: "/items", at: .zero))
        #expect(nodes.isSkipped("x", in: "/dead", at: .zero))
    }
}
