/// The messages in the tree at the end, by the names of their nodes, and the nodes that should not be there.
package struct FinalState: Sendable {
    package struct Message: Sendable, Hashable {
        package let name: String
        package let payload: String

        package init(name: String, payload: String) {
            self.name = name
            self.payload = payload
        }
    }
    package var ready: [Message]
    /// Messages that consumers or a recovery hold.
    package var held: [Message]
    package var dead: [Message]
    /// The paths of nodes that an empty queue does not have.
    package var unneededNodes: [String]

    package init(ready: [Message] = [], held: [Message] = [], dead: [Message] = [], unneededNodes: [String] = []) {
        self.ready = ready
        self.held = held
        self.dead = dead
        self.unneededNodes = unneededNodes
    }

    var all: [Message] { ready + held + dead }
}
