import Foundation

/// Another system that a user could choose, measured with the same work.
struct Peer: Sendable {
    let name: String
    /// Whether it runs on ZooKeeper, and needs no other server.
    let isOnZooKeeper: Bool
    /// The files that must be installed.
    let needs: [String]
    /// Builds and runs the load program. Starts and stops the broker's server when there is one.
    let run: @Sendable (_ work: Work, _ address: String, _ folder: String) async throws -> [Figures]

    var isInstalled: Bool { needs.allSatisfy { FileManager.default.fileExists(atPath: $0) } }

    private static let sources = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Peers").path
    private static let jars = [
        "curator-client", "curator-framework", "curator-recipes", "zookeeper", "guava", "slf4j-api", "slf4j-simple",
    ].map { "/usr/share/java/\($0).jar" }

    static let curator = Peer(name: "Curator (lockPath)", isOnZooKeeper: true, needs: jars) {
        work, address, folder in
        let path = jars.joined(separator: ":")
        try await Shell.call("javac", ["-cp", path, "-d", folder, "\(sources)/CuratorLoad.java"])
        return try await Shell.figures(
            "java",
            [
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", "\(folder):\(path)", "CuratorLoad", address,
                // Only a part of the work, because this peer is slow.
                "\(work.messages / 32)", "\(work.bytes)",
            ])
    }

    static let kazoo = Peer(
        name: "kazoo LockingQueue", isOnZooKeeper: true, needs: ["/usr/lib/python3/dist-packages/kazoo"]
    ) { work, address, _ in
        // Only a part of the work, because this peer is slow.
        try await Shell.figures(
            "/usr/bin/python3", ["\(sources)/kazoo_load.py", address, "\(work.messages / 64)", "\(work.bytes)"])
    }

    static let rabbit = Peer(
        name: "RabbitMQ quorum queue", isOnZooKeeper: false,
        needs: ["/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/include/amqp.h"]
    ) { work, _, folder in
        let environment = [
            "HOME=\(folder)", "ERL_EPMD_PORT=23674", "ERL_EPMD_ADDRESS=127.0.0.1", "RABBITMQ_NODENAME=load@localhost",
            "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT=23672", "RABBITMQ_DIST_PORT=23673",
            "RABBITMQ_MNESIA_BASE=\(folder)/data", "RABBITMQ_LOG_BASE=\(folder)/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE=\(folder)/plugins", "RABBITMQ_CONFIG_FILE=\(folder)/none",
            "RABBITMQ_CONF_ENV_FILE=\(folder)/none",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
        ]
        try Data("[].\n".utf8).write(to: URL(filePath: "\(folder)/plugins"))
        return try await broker(
            "RabbitLoad", "rabbitmq", 23672, work, folder,
            ["env"] + environment + ["/usr/lib/rabbitmq/bin/rabbitmq-server"])
    }

    static let redis = Peer(
        name: "Redis Streams, fsync always", isOnZooKeeper: false,
        needs: ["/usr/bin/redis-server", "/usr/include/hiredis/hiredis.h"]
    ) { work, _, folder in
        try await broker(
            "RedisLoad", "hiredis", 23379, work, folder,
            [
                "redis-server", "--port", "23379", "--bind", "127.0.0.1", "--dir", folder, "--save", "",
                "--appendonly", "yes", "--appendfsync", "always",
            ])
    }

    static let all = [curator, kazoo, rabbit, redis]

    /// Builds a load program, starts its broker, runs the program, and stops the broker.
    private static func broker(
        _ program: String, _ library: String, _ port: Int, _ work: Work, _ folder: String, _ server: [String]
    ) async throws -> [Figures] {
        try await Shell.call("cc", ["-O2", "\(sources)/\(program).c", "-o", "\(folder)/\(program)", "-l\(library)"])
        let arguments = ["\(port)", "\(work.messages)", "\(work.ones)", "\(work.bytes)"]
        return try await Broker.withBroker(server, port: port) {
            try await Shell.figures("\(folder)/\(program)", arguments)
        }
    }
}
