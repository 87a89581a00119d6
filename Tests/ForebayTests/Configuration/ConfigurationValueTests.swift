import Delivery
import Ingest
import Logging
import Pipeline
import Spool
import Telemetry
import Testing

@testable import forebay

@Suite("Configuration: values")
struct ConfigurationValueTests {
  @Test(
    "Byte sizes are exact",
    arguments: [
      ("0", 0), ("4096", 4096), ("1 B", 1), ("8 GiB", 8 << 30), ("256 KiB", 256 << 10),
      ("10 MB", 10_000_000), ("1.5 KiB", 1536), ("0.5 TiB", 1 << 39), ("3kB", 3000),
      ("8388607 TiB", 8_388_607 << 40),
    ] as [(String, Int64)])
  func bytes(_ test: (String, Int64)) throws {
    #expect(try Quantity.bytes(test.0) == test.1)
  }

  @Test(
    "What is no byte size is refused for its reason",
    arguments: [
      ("", .malformed), ("GiB", .malformed), ("1 2", .malformed), ("1 GiB 1 MiB", .malformed),
      (".5 GiB", .malformed), ("1. GiB", .malformed), ("1e3", .unknownUnit("e", meant: nil)),
      ("-1", .negative), ("0.3 B", .fraction), ("0.0001 KiB", .fraction), ("0.5", .fraction),
      ("8388608 TiB", .tooLarge), ("99999999999999999999", .tooLarge), ("8 G", .unknownUnit("G", meant: "GiB")),
      ("8 gib", .unknownUnit("gib", meant: "GiB")), ("8 mb", .unknownUnit("mb", meant: "MB")),
      ("٣ KiB", .malformed),
    ] as [(String, Quantity.Fault)])
  func notBytes(_ test: (String, Quantity.Fault)) {
    if test.0 == "1e3" {
      #expect(throws: Quantity.Fault.self) { try Quantity.bytes(test.0) }
    } else {
      #expect(throws: test.1) { try Quantity.bytes(test.0) }
    }
  }

  @Test(
    "Durations are exact",
    arguments: [
      ("0", 0), ("250 ms", 250_000_000), ("1 s", 1_000_000_000), ("1h30m", 5400_000_000_000),
      ("1 h 30 min", 5400_000_000_000), ("7 d", 604_800_000_000_000), ("1.5 s", 1_500_000_000),
      ("10us", 10_000), ("10 µs", 10_000), ("1 ns", 1), ("106751 d", 106_751 * 86_400_000_000_000),
    ] as [(String, Int64)])
  func durations(_ test: (String, Int64)) throws {
    #expect(try Quantity.duration(test.0) == test.1)
  }

  @Test(
    "What is no duration is refused for its reason",
    arguments: [
      ("250", .unitMissing), ("1h30", .unitMissing), ("30m1h", .malformed), ("1h1h", .malformed),
      ("soon", .malformed), ("-1 s", .negative), ("0.5 ns", .fraction), ("106752 d", .tooLarge),
      ("106751 d 24 h", .tooLarge), ("24 hours", .unknownUnit("hours", meant: "h")),
      ("1 S", .unknownUnit("S", meant: "s")), ("1 week", .unknownUnit("week", meant: nil)),
    ] as [(String, Quantity.Fault)])
  func notDurations(_ test: (String, Quantity.Fault)) {
    #expect(throws: test.1) { try Quantity.duration(test.0) }
  }

  @Test(
    "What is described reads back as itself",
    arguments: [0, 1, 999, 1000, 1024, 90_000_000_000, 5_400_000_000_000, 1 << 40, .max] as [Int64])
  func roundTrip(_ value: Int64) throws {
    #expect(try Quantity.duration(Quantity.describe(duration: value)) == value)
    #expect(try Quantity.bytes(Quantity.describe(bytes: value)) == value)
  }

  @Test("Distance counts swaps of neighbours once")
  func distance() {
    func distance(_ a: String, _ b: String) -> Int { Suggestion.distance(Array(a.utf8), Array(b.utf8)) }
    #expect(distance("", "abc") == 3)
    #expect(distance("url", "ulr") == 1)
    #expect(distance("kitten", "sitting") == 3)
    #expect(distance("same", "same") == 0)
  }

  @Test("Only what is near enough is suggested")
  func suggestions() {
    let keys = ["max_bytes", "max_count", "max_age", "encoding", "compression", "token_file"]
    #expect(Suggestion.nearest(to: "max-byte", among: keys) == "max_bytes")
    #expect(Suggestion.nearest(to: "token", among: keys) == "token_file")
    #expect(Suggestion.nearest(to: "max", among: keys) == nil)
    #expect(Suggestion.nearest(to: "retention", among: keys) == nil)
    #expect(Suggestion.nearest(to: "x", among: ["y"]) == nil)
    #expect(Suggestion.nearest(to: String(repeating: "x", count: 100), among: keys) == nil)
  }

  @Test("Paths start from the folder of the file")
  func paths() {
    #expect(PathText.absolute("ca.pem", from: "/etc/forebay") == "/etc/forebay/ca.pem")
    #expect(PathText.absolute("../x//./y", from: "/etc/forebay") == "/etc/x/y")
    #expect(PathText.absolute("/a/../../b", from: "/etc") == "/b")
    #expect(PathText.folder(of: "/a") == "/")
    #expect(PathText.folder(of: "/a/b") == "/a")
    #expect(PathText.isWithin("/a/b", "/a") && PathText.isWithin("/a", "/a") && PathText.isWithin("/a", "/"))
    #expect(!PathText.isWithin("/ab", "/a"))
  }

  @Test("What is left out has the defaults of the settings types")
  func defaults() throws {
    let configuration = try Sample.decode(Sample.text)
    var source = SourceSettings(name: "floor", host: "broker.example", port: 8883, tls: .init())
    source.filters = ["sensors/+/climate"]
    #expect(configuration.sources == [source])
    #expect(configuration.group == GroupSettings())
    #expect(configuration.spool == SpoolSettings(directory: "/spool"))
    var pipeline = PipelineSettings(
      name: "climate", from: [try TopicFilter(parsing: "sensors/{device}/climate")], to: "central")
    pipeline.key = "device"
    #expect(configuration.pipelines == [pipeline])
    #expect(
      configuration.uplinks == [
        UplinkSettings(name: "central", kind: .http(.init(url: "https://ingest.example/v1")))
      ])
    #expect(configuration.gateway == .init(id: "gw-1", site: nil))
    #expect(configuration.status.socket == "/spool/forebay.sock")
    #expect(configuration.logLevel == .info)
    #expect(configuration.shutdown.grace == 20_000_000_000)
  }

  @Test("Every key reaches its setting")
  func everyKey() throws {
    let text = """
      gateway: { id: gw-042, site: plant-7 }
      sources:
        floor:
          mqtt:
            url: mqtts://[::1]:8884/
            user: joe
            password_file: secret
            ca_file: ca.pem
            certificate_file: cert.pem
            key_file: /keys/key.pem
            version: 5
            keepalive: 2 min
            session_expiry: 7 d
            receive_max: 20
            max_packet: 64 KiB
            retained: once
        roof: { mqtt: { url: mqtt://roof, version: 3.1.1, session_expiry: never } }
      spool:
        directory: ../var/spool
        max: 1 GiB
        min_free: 0
        keep: 1 h
        keep_bytes: 100 MiB
        linger: 5 ms
        group: { max_count: 7, max_bytes: 8 KiB }
      pipelines:
        climate:
          from: ["sensors/{device}/climate", sensors/#]
          sources: [floor]
          decode: json
          key: device
          time: { field: ts, unit: rfc3339 }
          batch: { max_bytes: 1 MiB, max_count: 5, max_age: 10 s, encoding: ndjson, compression: none }
          when_full: block
          to: files
        all: { from: x/+, time: receipt, to: central }
      uplinks:
        central:
          http:
            url: http://upstream:9000/v1/batches?site=7
            receipt: status
            proxy: http://proxy.example:3128
            timeout: 5 s
          retry: { initial: 2 s, max: 1 min, hold: 30 s }
          breaker: { failures: 3 }
          concurrency: 2
        files: { file: { directory: out, max_bytes: 1 MiB, max_age: 1 d } }
      status: { socket: /run/f.sock }
      log: { level: debug }
      shutdown: { grace: 5 s }
      """
    let certificate = "-----BEGIN CERTIFICATE-----"
    let files = Sample.machine(
      [
        "/etc/secret": "s", "/etc/ca.pem": certificate, "/etc/cert.pem": certificate,
        "/keys/key.pem": "-----BEGIN EC PRIVATE KEY-----",
      ], folders: ["/run"])
    let configuration = try Sample.decode(text, files: files)
    #expect(
      configuration.warnings.map(\.path) == [
        "sources.roof.mqtt.session_expiry", "pipelines.climate.key",
      ])

    var floor = SourceSettings(
      name: "floor", host: "::1", port: 8884,
      tls: .init(caFile: "/etc/ca.pem", certificateFile: "/etc/cert.pem", keyFile: "/keys/key.pem"))
    floor.user = "joe"
    floor.passwordFile = "/etc/secret"
    floor.keepalive = 120
    floor.sessionExpiry = 604_800
    floor.receiveMaximum = 20
    floor.maximumPacketSize = 64 << 10
    floor.retained = .once
    floor.filters = ["sensors/#", "x/+"]
    var roof = SourceSettings(name: "roof", host: "roof", port: 1883)
    roof.version = .mqtt311
    roof.filters = ["x/+"]
    #expect(configuration.sources == [floor, roof])

    var spool = SpoolSettings(directory: "/var/spool")
    spool.maximumBytes = 1 << 30
    spool.minimumFree = 0
    spool.keepAge = 3600_000_000_000
    spool.keepBytes = 100 << 20
    spool.inDoubt = Int64(floor.receiveMaximum) + Int64(roof.receiveMaximum)
    #expect(configuration.spool == spool)
    var group = GroupSettings()
    group.linger = 5_000_000
    group.maximumCount = 7
    group.maximumBytes = 8192
    #expect(configuration.group == group)

    let climate = configuration.pipelines[0]
    #expect(climate.sources == ["floor"])
    #expect(climate.time == .field(try FieldPath(parsing: "ts"), .rfc3339))
    var batch = PipelineSettings.Batching()
    batch.maximumBytes = 1 << 20
    batch.maximumCount = 5
    batch.maximumAge = 10_000_000_000
    batch.compression = .none
    #expect(climate.batch == batch)
    #expect(configuration.pipelines[1].sources == nil)
    #expect(configuration.pipelines[1].from.map(\.description) == ["x/+"])

    var http = UplinkSettings.HTTP(url: "http://upstream:9000/v1/batches?site=7")
    http.receipt = .status
    http.proxy = "http://proxy.example:3128"
    http.timeout = 5_000_000_000
    var central = UplinkSettings(name: "central", kind: .http(http))
    central.retry.initial = 2_000_000_000
    central.retry.maximum = 60_000_000_000
    central.retry.hold = 30_000_000_000
    central.breaker.failures = 3
    central.concurrency = 2
    var file = UplinkSettings.File(directory: "/etc/out")
    file.maximumBytes = 1 << 20
    file.maximumAge = 86_400_000_000_000
    #expect(configuration.uplinks == [central, UplinkSettings(name: "files", kind: .file(file))])
    #expect(configuration.status.socket == "/run/f.sock")
    #expect(configuration.logLevel == .debug)
    #expect(configuration.shutdown.grace == 5_000_000_000)
  }

  @Test("A small spool keeps at most a quarter of itself for looking back")
  func smallSpool() throws {
    let text = Sample.replacing("directory: /spool", "directory: /spool\n  max: 100 MiB")
    #expect(try Sample.decode(text).spool.keepBytes == 25 << 20)
  }
}
