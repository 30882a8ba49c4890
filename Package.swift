// swift-tools-version: 6.2
import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0335-existential-any.md
    .enableUpcomingFeature("ExistentialAny"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0444-member-import-visibility.md
    .enableUpcomingFeature("MemberImportVisibility"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0409-access-level-on-imports.md
    .enableUpcomingFeature("InternalImportsByDefault"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0461-async-function-isolation.md
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

// What `zkq --version` prints. The Makefile sets it, because the package manager caches what it reads from git until
// this file changes.
let commit =
    Context.environment["ZKQ_COMMIT"]
    ?? Context.gitInformation.map { $0.currentCommit.prefix(12) + ($0.hasUncommittedChanges ? "-dirty" : "") }
    ?? "unknown"

// A user enables one trait, which alone determines what is built, because the package manager passes the names of
// several traits to the compiler in a random order, and then compiles everything again.
let extras = TargetDependencyCondition.when(traits: ["Extras", "Portable"])
let nio = TargetDependencyCondition.when(traits: ["Extras", "Portable", "NIO"])
let cclient = TargetDependencyCondition.when(traits: ["Extras", "CClient"])

let package = Package(
    name: "zookeeper-queue",
    platforms: [.macOS(.v26)],
    products: [
        .library(name: "ZooKeeper", targets: ["ZooKeeper"]),
        .library(name: "ZooKeeperQueue", targets: ["ZooKeeperQueue"]),
        .library(name: "ZooKeeperJobs", targets: ["ZooKeeperJobs"]),
        .library(name: "ZooKeeperGateway", targets: ["ZooKeeperGateway"]),
        .library(name: "ZooKeeperNIO", targets: ["ZooKeeperNIO"]),
        .library(name: "ZooKeeperRecipes", targets: ["ZooKeeperRecipes"]),
        .library(name: "ZooKeeperREST", targets: ["ZooKeeperREST"]),
        .library(name: "ZooKeeperServer", targets: ["ZooKeeperServer"]),
        .library(name: "ZooKeeperTestKit", targets: ["ZooKeeperTestKit"]),
        .executable(name: "zkq", targets: ["zkq"]),
    ],
    traits: [
        .trait(name: "Extras", description: "Everything: also the gateway, the REST client, local servers and zkq."),
        .trait(name: "Portable", description: "Everything but the C client, so without libzookeeper-mt-dev."),
        .trait(name: "CClient", description: "The client and the queue over the C client, without SwiftNIO."),
        .trait(name: "NIO", description: "The client and the queue over SwiftNIO, without libzookeeper-mt-dev."),
        .default(enabledTraits: ["Extras"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.3.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: []),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.2.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.4.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.3"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.7.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.30.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.20.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.30.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.8.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0", traits: []),
        .package(url: "https://github.com/apple/swift-system", from: "1.5.0"),
    ],
    targets: [
        .systemLibrary(name: "CZooKeeper", providers: [.apt(["libzookeeper-mt-dev"])]),
        .target(
            name: "ZooKeeper",
            dependencies: [
                .target(name: "CZooKeeper", condition: cclient),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]
        ),
        .target(
            name: "ZooKeeperQueue",
            dependencies: [
                "ZooKeeper",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ]
        ),
        .target(
            name: "ZooKeeperJobs",
            dependencies: [
                "ZooKeeper", "ZooKeeperQueue",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]
        ),
        .target(
            name: "ZooKeeperNIO",
            dependencies: [
                "ZooKeeper",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "NIOCore", package: "swift-nio", condition: nio),
                .product(name: "NIOPosix", package: "swift-nio", condition: nio),
                .product(name: "NIOSSL", package: "swift-nio-ssl", condition: nio),
            ]
        ),
        .target(name: "ZooKeeperRecipes", dependencies: ["ZooKeeper"]),
        .target(name: "GatewayProtocol", dependencies: ["ZooKeeper"]),
        .target(
            name: "ZooKeeperGateway",
            dependencies: [
                "GatewayProtocol", "ZooKeeper", "ZooKeeperQueue",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "HTTPTypes", package: "swift-http-types", condition: extras),
                .product(name: "HummingbirdCore", package: "hummingbird", condition: extras),
                .product(name: "HummingbirdTLS", package: "hummingbird", condition: extras),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio", condition: extras),
                .product(name: "NIOHTTP1", package: "swift-nio", condition: extras),
                .product(name: "NIOPosix", package: "swift-nio", condition: extras),
                .product(name: "NIOSSL", package: "swift-nio-ssl", condition: extras),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            // Embedded rather than put into a bundle, because `zkq` is installed as one file.
            resources: [.embedInCode("Operations/openapi.json")]
        ),
        .target(
            name: "ZooKeeperREST",
            dependencies: [
                "GatewayProtocol", "ZooKeeper",
                .product(name: "AsyncHTTPClient", package: "async-http-client", condition: extras),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio", condition: extras),
                .product(name: "NIOHTTP1", package: "swift-nio", condition: extras),
                .product(name: "NIOPosix", package: "swift-nio", condition: extras),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]
        ),
        .target(
            name: "ZooKeeperServer",
            dependencies: [
                .product(name: "Subprocess", package: "swift-subprocess", condition: extras),
                .product(name: "SystemPackage", package: "swift-system", condition: extras),
            ]
        ),
        .target(
            name: "ZooKeeperTestKit",
            dependencies: [
                "ZooKeeper", "ZooKeeperJobs", "ZooKeeperQueue",
                .product(name: "HeapModule", package: "swift-collections"),
            ]
        ),
        .target(name: "CVersion", cSettings: [.define("ZKQ_COMMIT", to: "\"\(commit)\"")]),
        .executableTarget(
            name: "zkq",
            dependencies: [
                "CVersion",
                "GatewayProtocol",
                "ZooKeeper",
                "ZooKeeperGateway",
                "ZooKeeperNIO",
                "ZooKeeperQueue",
                "ZooKeeperREST",
                "ZooKeeperServer",
                .product(name: "ArgumentParser", package: "swift-argument-parser", condition: extras),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]
        ),
        .executableTarget(
            name: "demo",
            dependencies: [
                "ZooKeeper", "ZooKeeperQueue", "ZooKeeperServer",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Subprocess", package: "swift-subprocess", condition: extras),
                .product(name: "SystemPackage", package: "swift-system", condition: extras),
            ],
            path: "Examples/Demo"
        ),
        .executableTarget(
            name: "hello-world", dependencies: ["ZooKeeper", "ZooKeeperQueue"], path: "Examples/HelloWorld"),
        .executableTarget(
            name: "service",
            dependencies: [
                "ZooKeeper", "ZooKeeperQueue",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            path: "Examples/Service"
        ),
        .executableTarget(
            name: "orders",
            dependencies: [
                "ZooKeeper", "ZooKeeperJobs", "ZooKeeperQueue",
                .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            path: "Examples/Orders"
        ),
        .executableTarget(name: "put-all", dependencies: ["ZooKeeper", "ZooKeeperQueue"], path: "Examples/PutAll"),
        .executableTarget(name: "check-all", dependencies: ["ZooKeeper", "ZooKeeperQueue"], path: "Examples/CheckAll"),
        .target(
            name: "TestSupport",
            dependencies: [
                .target(name: "CZooKeeper", condition: cclient), "ZooKeeper", "ZooKeeperNIO", "ZooKeeperQueue",
                "ZooKeeperServer",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/TestSupport"
        ),
        .target(name: "QueueHistory", path: "Tests/QueueHistory"),
        .target(
            name: "Simulation",
            dependencies: ["QueueHistory", "ZooKeeper", "ZooKeeperQueue", "ZooKeeperTestKit"],
            path: "Tests/Simulation"
        ),
        .executableTarget(
            name: "faults",
            dependencies: [
                "QueueHistory", "ZooKeeper", "ZooKeeperNIO", "ZooKeeperQueue", "ZooKeeperServer",
                .product(name: "ArgumentParser", package: "swift-argument-parser", condition: extras),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/ClusterTests"
        ),
        .executableTarget(
            name: "wedged-consumer", dependencies: ["ZooKeeper", "ZooKeeperQueue"], path: "Tests/WedgedConsumer"),
        .testTarget(
            name: "ZooKeeperTests",
            dependencies: [
                "TestSupport", "ZooKeeper", "ZooKeeperServer",
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "ServiceLifecycleTestKit", package: "swift-service-lifecycle"),
            ]
        ),
        .target(
            name: "ProtocolFuzzing", dependencies: ["ZooKeeper", "ZooKeeperNIO"], path: "Tests/ProtocolFuzzing"),
        .testTarget(
            name: "ZooKeeperNIOTests",
            dependencies: [
                "ProtocolFuzzing", "QueueHistory", "TestSupport", "ZooKeeper", "ZooKeeperNIO", "ZooKeeperServer",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio", condition: extras),
                .product(name: "NIOPosix", package: "swift-nio", condition: extras),
            ],
            resources: [.copy("Corpus")]
        ),
        .testTarget(
            name: "GatewayTests",
            dependencies: [
                "GatewayProtocol", "QueueHistory", "TestSupport", "ZooKeeper", "ZooKeeperGateway",
                "ZooKeeperQueue", "ZooKeeperServer",
                .product(name: "HTTPTypes", package: "swift-http-types", condition: extras),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "HummingbirdTesting", package: "hummingbird", condition: extras),
                .product(name: "NIOCore", package: "swift-nio", condition: extras),
                .product(name: "NIOPosix", package: "swift-nio", condition: extras),
                .product(name: "NIOSSL", package: "swift-nio-ssl", condition: extras),
                .product(name: "Subprocess", package: "swift-subprocess", condition: extras),
                .product(name: "SystemPackage", package: "swift-system", condition: extras),
            ],
            resources: [.copy("Recorded")]
        ),
        .testTarget(
            name: "RESTTests",
            dependencies: [
                "GatewayProtocol", "QueueHistory", "TestSupport", "ZooKeeper", "ZooKeeperGateway", "ZooKeeperQueue",
                "ZooKeeperREST", "ZooKeeperServer", "ZooKeeperTestKit",
                .product(name: "AsyncHTTPClient", package: "async-http-client", condition: extras),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio", condition: extras),
                .product(name: "NIOHTTP1", package: "swift-nio", condition: extras),
                .product(name: "NIOPosix", package: "swift-nio", condition: extras),
            ]
        ),
        .testTarget(
            name: "ZooKeeperQueueTests",
            dependencies: [
                "QueueHistory", "Simulation", "TestSupport", "ZooKeeper", "ZooKeeperQueue", "ZooKeeperServer",
                "ZooKeeperTestKit",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "ServiceLifecycleTestKit", package: "swift-service-lifecycle"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ]
        ),
        .testTarget(
            name: "ZooKeeperRecipesTests",
            dependencies: ["Simulation", "TestSupport", "ZooKeeper", "ZooKeeperRecipes", "ZooKeeperTestKit"]
        ),
        .testTarget(
            name: "ZooKeeperJobsTests",
            dependencies: [
                "QueueHistory", "Simulation", "TestSupport", "ZooKeeper", "ZooKeeperJobs", "ZooKeeperQueue",
                "ZooKeeperServer", "ZooKeeperTestKit",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "ServiceLifecycleTestKit", package: "swift-service-lifecycle"),
            ]
        ),
        .testTarget(
            name: "TestKitTests",
            dependencies: [
                "QueueHistory", "TestSupport", "Simulation", "ZooKeeper", "ZooKeeperNIO", "ZooKeeperQueue",
                "ZooKeeperServer", "ZooKeeperTestKit",
            ]
        ),
        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "QueueHistory", "Simulation", "ZooKeeper", "ZooKeeperQueue", "ZooKeeperREST", "ZooKeeperTestKit",
            ]
        ),
        .testTarget(
            name: "ToolTests",
            dependencies: [
                "TestSupport", "ZooKeeper", "ZooKeeperQueue", "ZooKeeperServer", "wedged-consumer", "zkq",
                .product(name: "HTTPTypes", package: "swift-http-types", condition: extras),
                .product(name: "HummingbirdTesting", package: "hummingbird", condition: extras),
                .product(name: "NIOCore", package: "swift-nio", condition: extras),
                .product(name: "NIOPosix", package: "swift-nio", condition: extras),
                .product(name: "Subprocess", package: "swift-subprocess", condition: extras),
                .product(name: "SystemPackage", package: "swift-system", condition: extras),
            ]
        ),
    ]
)

// The tutorial in the queue's documentation shows one program as it grows. Each of its files is a whole program, and so
// a target, which is compiled and not linked. The last file holds tests, which run with all other tests.
let tutorialFiles = [
    "order-service-1-connect.swift", "order-service-2-create.swift", "order-service-3-send.swift",
    "order-service-4-send-once.swift", "order-service-5-receive.swift", "order-service-6-process.swift",
    "order-service-7-worker.swift", "order-service-8-service.swift", "order-service-9-tests.swift",
]
for (index, file) in tutorialFiles.enumerated() {
    let path = "Sources/ZooKeeperQueue/Documentation.docc/Resources"
    let others = tutorialFiles.filter { $0 != file } + ["order-service.svg"]
    package.targets.append(
        file == tutorialFiles.last
            ? .testTarget(
                name: "TutorialTests", dependencies: ["ZooKeeperQueue", "ZooKeeperTestKit"], path: path,
                exclude: others, sources: [file])
            : .target(
                name: "Tutorial\(index + 1)",
                dependencies: [
                    "ZooKeeper", "ZooKeeperQueue",
                    .product(name: "Logging", package: "swift-log"),
                    .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                    .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                ],
                path: path, exclude: others, sources: [file]))
}

// libFuzzer has the main function, so no other command can build the target. `make fuzz` sets the variable.
if Context.environment["ZKQ_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "protocol-fuzzer", dependencies: ["ProtocolFuzzing"], path: "Tests/ProtocolFuzzer",
            swiftSettings: [.unsafeFlags(["-parse-as-library", "-sanitize=fuzzer"])],
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])]))
}

// The project's own commands build without warnings; a package that depends on this one need not.
// https://github.com/swiftlang/swift-evolution/blob/main/proposals/0480-swiftpm-warning-control.md
let isStrict = Context.environment["ZKQ_STRICT"] != nil
let strict: [SwiftSetting] = isStrict ? [.treatAllWarnings(as: .error)] : []

// They optimize what the simulations run, also for debugging, which takes 167 s of processor time then instead of 557
// s. The compiler needs 60 s more. The checks of overflow, bounds and preconditions stay.
let simulated: Set = [
    "ZooKeeper", "ZooKeeperQueue", "ZooKeeperJobs", "ZooKeeperRecipes", "ZooKeeperTestKit", "QueueHistory",
    "Simulation",
]
let optimized: [SwiftSetting] = isStrict ? [.unsafeFlags(["-O"], .when(configuration: .debug))] : []

for target in package.targets where target.type != .system {
    target.swiftSettings = swiftSettings + strict + (simulated.contains(target.name) ? optimized : [])
}
