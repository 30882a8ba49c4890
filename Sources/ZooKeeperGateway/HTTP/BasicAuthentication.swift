import Foundation
import HTTPTypes

/// Who may use an endpoint: names and passwords, by HTTP basic authentication (RFC 7617).
struct BasicAuthentication: Sendable {
    /// When it is empty, anybody may.
    let users: [String: String]

    func admits(_ headers: HTTPFields) -> Bool {
        if users.isEmpty { return true }
        let words = headers[.authorization]?.split(separator: " ", maxSplits: 1) ?? []
        guard words.count == 2, words[0].lowercased() == "basic", let data = Data(base64Encoded: String(words[1])),
            let text = String(validating: data, as: UTF8.self), let colon = text.firstIndex(of: ":")
        else { return false }
        let password = Array(text[text.index(after: colon)...].utf8)
        // An unknown name takes as long as a wrong password.
        let expected = users[String(text[..<colon])]
        return Self.areEqual(password, Array((expected ?? "").utf8)) && expected != nil
    }

    /// In a time that does not tell how much of it is right.
    private static func areEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        var difference = UInt8(a.count == b.count ? 0 : 1)
        for index in a.indices { difference |= a[index] ^ (b.isEmpty ? 0 : b[index % b.count]) }
        return difference == 0
    }

    static let refusal: Answer = {
        var answer = Answer(.unauthorized)
        answer.headers[.wwwAuthenticate] = "Basic realm=\"zookeeper\", charset=\"UTF-8\""
        return answer
    }()
}
