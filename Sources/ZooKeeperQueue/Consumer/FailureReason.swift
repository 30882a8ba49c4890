/// Describes a handler's error for the log and for a dead letter.
enum FailureReason {
    /// The longest description, in characters. A dead letter's reason is cut further down.
    private static let maximumLength = 1_024

    /// Returns the type of the error and its own description.
    ///
    /// The description is the handler's own text. Nothing of the message is added to it.
    static func text(of error: any Error) -> String {
        let (type, description) = (String(reflecting: Swift.type(of: error)), String(describing: error))
        return "the handler threw \(type): \(description.prefix(maximumLength))"
    }
}
