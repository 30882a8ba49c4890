#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The paths of Java and of ZooKeeper's jars.
struct Installation: Sendable {
    let java: String
    let classPath: String

    init(environment: [String: String] = ProcessInfo.processInfo.environment) throws {
        let isExecutable = FileManager.default.isExecutableFile(atPath:)
        let candidates =
            (environment["JAVA_HOME"].map { [$0 + "/bin/java"] } ?? [])
            + (environment["PATH"] ?? "/usr/bin").split(separator: ":").map { $0 + "/java" }
        guard let java = candidates.first(where: isExecutable) else {
            throw LocalServerError(
                description:
                    "Java was not found. Install it together with ZooKeeper (apt-get install zookeeper), or set "
                    + "JAVA_HOME.")
        }
        self.java = java
        if let classPath = environment["ZOOKEEPER_CLASSPATH"] {
            self.classPath = classPath
            return
        }
        let jars = ["zookeeper.jar", "slf4j-simple.jar"].map { "/usr/share/java/" + $0 }
        guard jars.allSatisfy(FileManager.default.isReadableFile(atPath:)) else {
            throw LocalServerError(
                description:
                    "ZooKeeper's jars were not found in /usr/share/java. Install them (apt-get install zookeeper), "
                    + "or set ZOOKEEPER_CLASSPATH.")
        }
        classPath = jars.joined(separator: ":")
    }
}
