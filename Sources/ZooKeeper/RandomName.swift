/// Random names of 128 bits, in hexadecimal. No other client generates the same one.
package enum RandomName {
    /// The source of the random bits. A simulation replaces it, so that a run can be repeated.
    @TaskLocal package static var bits: @Sendable () -> UInt64 = { .random(in: .min ... .max) }

    package static func make() -> String {
        (0..<2).map { _ in
            let digits = String(bits(), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }

    /// Returns ten random digits, in the format of a sequence number that the server assigns.
    package static func tenDigits() -> String {
        // The leading 1 keeps the zeros behind it, and is dropped.
        String(String(10_000_000_000 + bits() % 10_000_000_000).dropFirst())
    }
}
