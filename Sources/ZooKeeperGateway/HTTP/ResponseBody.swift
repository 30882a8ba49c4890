/// A structure of the REST interface with ordered fields, which can be written as JSON or as XML.
struct ResponseBody {
    enum Value {
        case text(String)
        case number(Int64)
        case null
        /// Strings. In XML, each one is an element with the given name.
        case list(String, [String])
    }

    /// The name of the root element in XML.
    let name: String
    private(set) var fields: [(name: String, value: Value)] = []

    init(_ name: String, _ fields: KeyValuePairs<String, Value>) {
        self.name = name
        self.fields = fields.map { ($0.key, $0.value) }
    }

    mutating func append(_ name: String, _ value: Value) { fields.append((name, value)) }

    // MARK: JSON

    var json: String {
        "{" + fields.map { "\(Self.json($0.name)):\(Self.json($0.value))" }.joined(separator: ",") + "}"
    }

    private static func json(_ value: Value) -> String {
        switch value {
        case .text(let text): json(text)
        case .number(let number): "\(number)"
        case .null: "null"
        case .list(_, let texts): "[" + texts.map(json).joined(separator: ",") + "]"
        }
    }

    static func json(_ text: String) -> String {
        var json = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": json += "\\\""
            case "\\": json += "\\\\"
            case "\n": json += "\\n"
            case "\r": json += "\\r"
            case "\t": json += "\\t"
            // JavaScript treats the last two as line terminators.
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                json += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: json.unicodeScalars.append(scalar)
            }
        }
        return json + "\""
    }

    // MARK: XML

    var xml: String {
        let body = fields.map { field in
            switch field.value {
            case .text(let text): Self.element(field.name, Self.xml(text))
            case .number(let number): Self.element(field.name, "\(number)")
            case .null: Self.element(field.name, "")
            case .list(let name, let texts):
                Self.element(field.name, texts.map { Self.element(name, Self.xml($0)) }.joined())
            }
        }
        return "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>" + Self.element(name, body.joined())
    }

    private static func element(_ name: String, _ content: String) -> String { "<\(name)>\(content)</\(name)>" }

    private static func xml(_ text: String) -> String {
        var xml = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": xml += "&amp;"
            case "<": xml += "&lt;"
            case ">": xml += "&gt;"
            case "\r": xml += "&#13;"
            // XML 1.0 cannot represent these characters, even as references.
            case "\u{0}"..."\u{8}", "\u{B}", "\u{C}", "\u{E}"..."\u{1F}", "\u{FFFE}", "\u{FFFF}": xml += "\u{FFFD}"
            default: xml.unicodeScalars.append(scalar)
            }
        }
        return xml
    }
}
