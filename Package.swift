// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// A room of the house: one Swift target, strict, under Sources/NAME.
func room(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

/// The tests of one room, under Tests/NAMETests.
func tests(of name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: name + "Tests",
        dependencies: [.byName(name: name)] + dependencies,
        swiftSettings: strict
    )
}

let package = Package(
    name: "remusd",
    products: [
        .executable(name: "remusd", targets: ["remusd"]),
        .executable(name: "remusd-sim", targets: ["remusd-sim"]),
        .executable(name: "remusd-bench", targets: ["remusd-bench"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        .systemLibrary(name: "CLinux"),
        .target(name: "CKernels", linkerSettings: [.linkedLibrary("lz4")]),
        // Headers only: the libraries are loaded at run time.
        .target(name: "CXen"),
        .systemLibrary(
            name: "CNetlink",
            pkgConfig: "libnl-route-3.0",
            providers: [.apt(["libnl-route-3-dev"])]
        ),
        // Headers only, too: of all processes, a daemon with an etcd loads the library.
        .target(name: "CCurl"),
        .systemLibrary(name: "CTLS", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        room("SystemSupport", ["CKernels", "CLinux"]),
        room("XenStream"),
        room("Checkpoint", ["CKernels", "XenStream"]),
        room("Transport", ["CKernels", "CTLS", "Checkpoint", "SystemSupport"]),
        room("EmbeddedHost", ["Checkpoint", "XenStream", "SystemSupport"]),
        room("NetBuffer", ["CNetlink", "Checkpoint", "SystemSupport"]),
        room("XenHost", ["CXen", "Checkpoint", "SystemSupport", "XenStream"]),
        room("Simulator", ["Checkpoint", "SystemSupport", "XenStream"]),
        room(
            "Daemon",
            [
                "CCurl", "Checkpoint", "EmbeddedHost", "NetBuffer", "SystemSupport", "Transport",
                "XenHost", "XenStream",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]
        ),
        .executableTarget(
            name: "remusd",
            dependencies: [
                "Checkpoint", "Daemon", "EmbeddedHost", "SystemSupport", "Transport", "XenHost", "XenStream",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict
        ),
        room(
            "Benchmark",
            [
                "CKernels", "Checkpoint", "Daemon", "EmbeddedHost", "SystemSupport", "Transport", "XenStream",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .executableTarget(
            name: "remusd-bench",
            dependencies: [
                "Benchmark", "Daemon", "SystemSupport",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict
        ),
        .executableTarget(
            name: "remusd-sim",
            dependencies: [
                "Simulator", "SystemSupport",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict
        ),
        tests(of: "XenStream"),
        tests(of: "Checkpoint", ["CKernels", "XenStream"]),
        tests(of: "SystemSupport"),
        tests(of: "EmbeddedHost", ["Checkpoint", "SystemSupport", "XenStream"]),
        tests(of: "NetBuffer", ["Checkpoint", "SystemSupport"]),
        tests(of: "XenHost", ["CXen", "Checkpoint", "SystemSupport", "XenStream"]),
        tests(of: "Simulator"),
        tests(of: "Benchmark", ["Checkpoint", "Daemon", "SystemSupport", "Transport", "XenStream"]),
        tests(of: "Transport", ["CTLS", "Checkpoint", "SystemSupport"]),
        tests(of: "Daemon", ["remusd", "CKernels", "Checkpoint", "SystemSupport", "Transport"]),
    ]
)
