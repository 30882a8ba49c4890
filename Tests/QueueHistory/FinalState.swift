/// What was left in the tree at the end: the names of the messages' nodes, with their payloads.
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
    /// Held by consumers, or by a recovery.
    package var held: [Message]
    package var dead: [Message]
    /// Paths that an empty queue does not have.
    package var garbage: [String]

    package init(ready: [Message] = [], held: [Message] = [], dead: [Message] = [], garbage: [String] = []) {
        self.ready = ready
        self.held = held
        self.dead = dead
        self.garbage = garbage
    }

    var all: [Message] { ready + held + dead }
}
