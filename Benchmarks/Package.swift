// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "benchmarks",
    dependencies: [
        .package(name: "zookeeper-queue", path: "..", traits: ["Extras"]),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.7.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.5.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        // Without jemalloc, which a bare machine lacks.
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.0", traits: []),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0", traits: []),
    ],
    targets: [
        .executableTarget(
            name: "floor", path: "Sources/Floor", cSettings: [.define("THREADED")],
            linkerSettings: [.linkedLibrary("zookeeper_mt")]),
        .target(
            name: "LoadSupport", dependencies: [.product(name: "CoreMetrics", package: "swift-metrics")]),
        .executableTarget(
            name: "queue-load",
            dependencies: [
                "LoadSupport",
                .product(name: "ZooKeeper", package: "zookeeper-queue"),
                .product(name: "ZooKeeperNIO", package: "zookeeper-queue"),
                .product(name: "ZooKeeperQueue", package: "zookeeper-queue"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            path: "Sources/QueueLoad"
        ),
        .executableTarget(
            name: "compare",
            dependencies: [
                .product(name: "ZooKeeperServer", package: "zookeeper-queue"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Subprocess", package: "swift-subprocess"),
            ],
            path: "Sources/Compare"
        ),
        .executableTarget(
            name: "delay-load",
            dependencies: [
                "LoadSupport",
                .product(name: "ZooKeeper", package: "zookeeper-queue"),
                .product(name: "ZooKeeperQueue", package: "zookeeper-queue"),
                .product(name: "ZooKeeperServer", package: "zookeeper-queue"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Sources/DelayLoad"
        ),
        .executableTarget(
            name: "group-load",
            dependencies: [
                "LoadSupport",
                .product(name: "ZooKeeper", package: "zookeeper-queue"),
                .product(name: "ZooKeeperQueue", package: "zookeeper-queue"),
                .product(name: "ZooKeeperServer", package: "zookeeper-queue"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Sources/GroupLoad"
        ),
        .executableTarget(
            name: "gateway-load",
            dependencies: [
                "LoadSupport",
                .product(name: "ZooKeeper", package: "zookeeper-queue"),
                .product(name: "ZooKeeperQueue", package: "zookeeper-queue"),
                .product(name: "ZooKeeperServer", package: "zookeeper-queue"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            path: "Sources/GatewayLoad"
        ),
        .executableTarget(
            name: "HotPaths",
            dependencies: [
                .product(name: "Benchmark", package: "benchmark"),
                .product(name: "ZooKeeper", package: "zookeeper-queue"),
                .product(name: "ZooKeeperQueue", package: "zookeeper-queue"),
                .product(name: "ZooKeeperTestKit", package: "zookeeper-queue"),
            ],
            path: "Benchmarks/HotPaths",
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]
        ),
    ]
)

for target in package.targets {
    target.swiftSettings = [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    ]
}
