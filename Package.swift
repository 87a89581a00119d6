// swift-tools-version: 6.2
import PackageDescription

// The compiler keeps the table of docs/architecture.md: a target sees only what it names here, and
// every build runs with `--explicit-target-dependency-import-check error` (see the Makefile).
let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

func product(_ name: String, _ package: String) -> Target.Dependency {
  .product(name: name, package: package)
}

let argumentParser = product("ArgumentParser", "swift-argument-parser")
let asyncHTTPClient = product("AsyncHTTPClient", "async-http-client")
let hummingbirdCore = product("HummingbirdCore", "hummingbird")
let logging = product("Logging", "swift-log")
let metrics = product("Metrics", "swift-metrics")
let nioCore = product("NIOCore", "swift-nio")
let nioFoundationFree = [nioCore, product("NIOPosix", "swift-nio"), product("NIOHTTP1", "swift-nio")]
let nioSSL = product("NIOSSL", "swift-nio-ssl")

/// The status page lies in the binary: there is no build step, and nothing to install beside it.
let statusPage: [Resource] = [
  "index.html", "favicon.svg", "page.css", "alarms.js", "api.js", "charts.js", "debug.js", "dialog.js", "dom.js",
  "format.js", "oncall.js", "overview.js", "page.js", "parts.js",
].map { .embedInCode("Page/\($0)") }

let package = Package(
  name: "forebay",
  products: [
    .executable(name: "forebay", targets: ["forebay"])
  ],
  traits: [
    .trait(name: "Failpoints", description: "Places to die at, for the kill tests; never in a release.")
  ],
  dependencies: [
    // Used by name.
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/swift-server/async-http-client", exact: "1.37.0"),
    // Without its default traits, which bring all of Foundation and ICU into the binary.
    .package(url: "https://github.com/hummingbird-project/hummingbird", exact: "2.28.1", traits: []),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics", exact: "2.13.0"),
    .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
    // Brought along by those above: pinned here, so that a build of a year from now is this build.
    .package(url: "https://github.com/apple/swift-algorithms", exact: "1.2.1"),
    .package(url: "https://github.com/apple/swift-asn1", exact: "1.7.4"),
    .package(url: "https://github.com/apple/swift-async-algorithms", exact: "1.1.4"),
    .package(url: "https://github.com/apple/swift-atomics", exact: "1.3.0"),
    .package(url: "https://github.com/apple/swift-certificates", exact: "1.21.1"),
    .package(url: "https://github.com/apple/swift-collections", exact: "1.6.0"),
    .package(url: "https://github.com/apple/swift-configuration", exact: "1.4.0", traits: []),
    .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
    .package(url: "https://github.com/apple/swift-distributed-tracing", exact: "1.7.3"),
    .package(url: "https://github.com/apple/swift-http-structured-headers", exact: "1.7.0"),
    .package(url: "https://github.com/apple/swift-http-types", exact: "1.8.0"),
    .package(url: "https://github.com/apple/swift-nio-extras", exact: "1.35.2"),
    .package(url: "https://github.com/apple/swift-nio-http2", exact: "1.46.0"),
    .package(url: "https://github.com/apple/swift-nio-transport-services", exact: "1.28.0"),
    .package(url: "https://github.com/apple/swift-numerics", exact: "1.1.1"),
    .package(url: "https://github.com/apple/swift-service-context", exact: "1.5.1"),
    .package(url: "https://github.com/apple/swift-system", exact: "1.8.1"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
  ],
  targets: [
    .systemLibrary(name: "CLinux"),
    .systemLibrary(name: "CMosquitto", providers: [.apt(["libmosquitto-dev"])]),
    .systemLibrary(name: "COpenSSL", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CPCRE2", providers: [.apt(["libpcre2-dev"])]),
    .systemLibrary(name: "CSQLite", providers: [.apt(["libsqlite3-dev"])]),
    .systemLibrary(name: "CYAML", providers: [.apt(["libyaml-dev"])]),
    .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CZstd", providers: [.apt(["libzstd-dev"])]),

    .target(name: "Failpoints", swiftSettings: settings),
    .target(name: "Telemetry", dependencies: ["COpenSSL"], swiftSettings: settings),
    .target(name: "Compression", dependencies: ["CZlib", "CZstd"], swiftSettings: settings),
    .target(
      name: "Ingest", dependencies: ["Failpoints", "Telemetry", "CMosquitto", logging], swiftSettings: settings),
    .target(
      name: "Spool", dependencies: ["Failpoints", "Telemetry", "Compression", "CSQLite", logging],
      swiftSettings: settings),
    .target(
      name: "Pipeline", dependencies: ["Telemetry", "Compression", "CPCRE2", "CSQLite"], swiftSettings: settings),
    .target(
      name: "Delivery",
      dependencies: [
        "Failpoints", "Telemetry", "Compression", asyncHTTPClient, logging, nioCore, nioSSL,
        product("NIOHTTP1", "swift-nio"), product("NIOPosix", "swift-nio"),
      ],
      swiftSettings: settings),
    .target(
      name: "Status",
      dependencies: [
        "Telemetry", hummingbirdCore, logging, metrics, nioSSL, nioCore,
        product("NIOPosix", "swift-nio"), product("HTTPTypes", "swift-http-types"),
        product("NIOHTTPTypes", "swift-nio-extras"), product("NIOHTTPTypesHTTP1", "swift-nio-extras"),
        product("NIOHTTP1", "swift-nio"),
      ],
      resources: statusPage + [.embedInCode("API/openapi.json")],
      swiftSettings: settings),
    .executableTarget(
      name: "forebay",
      dependencies: [
        "Failpoints", "Telemetry", "Compression", "Ingest", "Spool", "Pipeline", "Delivery", "Status",
        "CLinux", "CMosquitto", "CYAML", argumentParser, logging, nioSSL, product("NIOTLS", "swift-nio"),
      ] + nioFoundationFree,
      path: "Sources/Forebay",
      swiftSettings: settings,
      linkerSettings: [
        // Nobody links against the executable: what it does not export may be left out where nobody uses it (4 MB).
        // Relocations packed as DT_RELR, which glibc knows since 2.36 (Debian 12), are another 2 MB, and are read at
        // every start; of the linkers here only lld, which comes with Swift, names that version of glibc as needed.
        .unsafeFlags(
          [
            "-use-ld=lld", "-Xlinker", "--no-export-dynamic", "-Xlinker", "-z", "-Xlinker", "pack-relative-relocs",
            // What runs lies together (docs/decisions/0018); names that are gone are no error.
            "-Xlinker", "--symbol-ordering-file=\(Context.packageDirectory)/packaging/function-order",
            "-Xlinker", "--no-warn-symbol-ordering",
          ], .when(configuration: .release))
      ]),
    // Measures the spool from within (`make bench`); no part of the product.
    .executableTarget(
      name: "spool-bench", dependencies: ["Telemetry", "Compression", "Spool"], path: "Benchmarks/SpoolBench",
      swiftSettings: settings),
    // Measures the pipeline from within (`make bench`); no part of the product.
    .executableTarget(
      name: "pipeline-bench", dependencies: ["Telemetry", "Pipeline", "Spool"], path: "Benchmarks/PipelineBench",
      swiftSettings: settings),

    .target(
      name: "TestSupport",
      dependencies: ["Telemetry", nioSSL] + nioFoundationFree,
      path: "Tests/TestSupport", swiftSettings: settings),
    .testTarget(name: "TelemetryTests", dependencies: ["Telemetry", "TestSupport"], swiftSettings: settings),
    .testTarget(name: "CompressionTests", dependencies: ["Compression", "TestSupport"], swiftSettings: settings),
    .testTarget(name: "IngestTests", dependencies: ["Ingest", "Telemetry", "TestSupport"], swiftSettings: settings),
    .testTarget(
      name: "SpoolTests", dependencies: ["Spool", "Telemetry", "Compression", "CSQLite", "TestSupport"],
      swiftSettings: settings),
    .testTarget(
      name: "PipelineTests", dependencies: ["Pipeline", "Telemetry", "Compression", "CSQLite", "TestSupport"],
      swiftSettings: settings),
    .testTarget(
      name: "DeliveryTests", dependencies: ["Delivery", "Telemetry", "Compression", "TestSupport"],
      swiftSettings: settings),
    .testTarget(
      name: "StatusTests", dependencies: ["Status", "Telemetry", "TestSupport", logging], swiftSettings: settings),
    .testTarget(
      name: "ForebayTests",
      dependencies: [
        "forebay", "Telemetry", "Compression", "Ingest", "Spool", "Pipeline", "Delivery", "Status", "TestSupport",
        logging, argumentParser, nioSSL,
      ] + nioFoundationFree,
      swiftSettings: settings),
    .testTarget(
      name: "EndToEndTests", dependencies: ["Failpoints", "TestSupport", "CSQLite"],
      exclude: ["receiver.py", "page.py", "terminal.py", "seeds.py"],
      swiftSettings: settings),
  ]
)

// The thread sanitizer takes Synchronization.Mutex for a race (`make test-sanitize`): another one takes its place.
if Context.environment["FOREBAY_SANITIZE"] == "thread" {
  let stand = "SanitizedSynchronization"
  for target in package.targets where target.type != .system {
    target.dependencies.append(.byName(name: stand))
    target.swiftSettings?.append(.unsafeFlags(["-module-alias", "Synchronization=\(stand)"]))
  }
  package.targets.append(.target(name: stand, path: "Tests/SanitizedSynchronization"))
}
