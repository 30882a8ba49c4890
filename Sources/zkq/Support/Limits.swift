import ArgumentParser

/// Checks the value of an option that is a number. Such an option is parsed unconditionally, because "-1" would count as the name
/// of another option.
///
/// - Parameters:
///   - name: the option, as it is typed.
///   - value: its value; `nil` when it was not given.
///   - lowest: the least that it may be.
///   - highest: the most; `nil` is no limit.
///   - unit: what it counts, if that is not plain.
/// - Throws: `ValidationError` that names the limits.
func check<Value: Comparable>(
    _ name: String, _ value: Value?, from lowest: Value, to highest: Value? = nil, unit: String = ""
) throws {
    // Written so that what is no number at all is refused too.
    guard let value, !(value >= lowest && value <= highest ?? value) else { return }
    let (least, unit) = (plain(lowest), unit.isEmpty ? "" : " of \(unit)")
    let limits = highest.map { "from \(least) to \(plain($0))" } ?? "of at least \(least)"
    throw ValidationError("\(name) is a number\(unit) \(limits), and \(plain(value)) is not.")
}

private func plain(_ value: some Comparable) -> String {
    let text = "\(value)"
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
}
