/// Describes a handler's error for the log and for a dead letter.
package enum FailureReason {
    /// The longest description, in characters. A dead letter's reason is cut further down.
    private static let maximumLength = 1_024

    /// Returns the reason for requeueing the message of a handler that threw.
    static func requeue(after error: any Error) -> String { "the handler threw \(description(of: error))" }

    /// Returns the type of an error and the error's own description. Nothing of the message is added to it.
    package static func description(of error: any Error) -> String {
        let (type, text) = (String(reflecting: type(of: error)), String(describing: error).prefix(maximumLength))
        // Swift's own description of a structure begins with the name of its type.
        let name = type.split(separator: ".").last ?? ""
        return text.hasPrefix("\(name)(") ? "\(type.dropLast(name.count))\(text)" : "\(type): \(text)"
    }
}
