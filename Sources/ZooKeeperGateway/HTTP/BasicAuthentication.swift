import HTTPTypes
import ZooKeeper

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The users of an endpoint: names and passwords, for HTTP basic authentication (RFC 7617).
struct BasicAuthentication: Sendable {
    /// The bytes of the passwords by user name. When it is empty, every request is admitted.
    private let users: [ExactString: [UInt8]]

    init(users: [String: String]) {
        self.users = Dictionary(uniqueKeysWithValues: users.map { (ExactString($0.key), Array($0.value.utf8)) })
    }

    func admits(_ headers: HTTPFields) -> Bool {
        if users.isEmpty { return true }
        let words = headers[.authorization]?.split(separator: " ", maxSplits: 1) ?? []
        guard words.count == 2, words[0].lowercased() == "basic", let data = Data(base64Encoded: String(words[1])),
            let colon = data.firstIndex(of: UInt8(ascii: ":")),
            let name = String(validating: data[..<colon], as: UTF8.self)
        else { return false }
        // An unknown name takes as long as a wrong password.
        let expected = users[ExactString(name)]
        return Self.areEqual(Array(data[(colon + 1)...]), expected ?? []) && expected != nil
    }

    /// Compares in a time that does not reveal how much of the password is right.
    private static func areEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        var difference = UInt8(a.count == b.count ? 0 : 1)
        for index in a.indices { difference |= a[index] ^ (b.isEmpty ? 0 : b[index % b.count]) }
        return difference == 0
    }

    /// The response that asks a client for a user name and a password.
    static let challenge: GatewayResponse = {
        var response = GatewayResponse(.unauthorized)
        response.headers[.wwwAuthenticate] = "Basic realm=\"zookeeper\", charset=\"UTF-8\""
        return response
    }()
}
