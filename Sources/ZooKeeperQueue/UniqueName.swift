/// Names that nobody else makes: 128 random bits in hexadecimal.
package enum UniqueName {
    /// Where the random bits come from. A simulation decides them, so that it can be repeated.
    @TaskLocal package static var bits: @Sendable () -> UInt64 = { .random(in: .min ... .max) }

    static func make() -> String {
        (0..<2).map { _ in
            let digits = String(bits(), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }

    /// Ten random digits, in the form of a number that the server gives.
    static func tenDigits() -> String {
        // The first digit keeps the zeros behind it.
        String(String(10_000_000_000 + bits() % 10_000_000_000).dropFirst())
    }
}
