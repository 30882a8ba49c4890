import ArgumentParser

/// Checks the value of a numeric option. Such an option is parsed unconditionally, because "-1" would otherwise
/// count as the name of another option.
///
/// - Parameters:
///   - name: the option as the user types it.
///   - value: the option's value; `nil` when the user did not give it.
///   - lowest: the smallest allowed value.
///   - highest: the largest allowed value; `nil` means no limit.
///   - unit: the unit of the value; empty when it needs none.
/// - Throws: `ValidationError` that names the limits.
func check<Value: Comparable>(
    _ name: String, _ value: Value?, from lowest: Value, to highest: Value? = nil, unit: String = ""
) throws {
    // Written in this form so that a value that is not a number (NaN) is refused too.
    guard let value, !(value >= lowest && value <= highest ?? value) else { return }
    let limits = highest.map { "from \(plain(lowest)) to \(plain($0))" } ?? "at least \(plain(lowest))"
    throw ValidationError(
        "\(name) must be \(limits)\(unit.isEmpty ? "" : " \(unit)"), not \(plain(value)).")
}

private func plain(_ value: some Comparable) -> String {
    let text = "\(value)"
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
}
