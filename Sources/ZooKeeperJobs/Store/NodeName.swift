/// Names of nodes that are made of a caller's text.
enum NodeName {
    /// Whether a text is usable as the name of a node without a change.
    static func isPlain(_ text: some StringProtocol) -> Bool {
        !text.isEmpty && text.utf8.count <= 255 && text.utf8.allSatisfy(isPlain) && text.first != "."
    }

    /// Returns the name for a text: every byte that is not a letter, a digit, `-`, `_` or `.` becomes `%` and two
    /// hexadecimal digits, and so does a `.` at the beginning. Different texts have different names.
    static func escape(_ text: String) -> String {
        var name = ""
        for (index, byte) in text.utf8.enumerated() {
            if isPlain(byte), index > 0 || byte != UInt8(ascii: ".") {
                name.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                name += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return name
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}
