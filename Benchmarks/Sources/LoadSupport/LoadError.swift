/// The reason why a measurement failed.
package struct LoadError: Error, CustomStringConvertible {
    package let description: String

    package init(description: String) { self.description = description }
}
