import Foundation
import TestSupport
import Testing

/// The real thing in a folder of its own: mosquitto, the daemon, the reference upstream, simulated
/// devices, each a process, all on free loopback ports.
final class House {
  struct Trouble: Error, CustomStringConvertible {
    var description: String
  }

  let directory: TemporaryDirectory
  let broker: MosquittoBroker
  let upstreamPort: Int
  private(set) var daemon: ChildProcess?
  private(set) var upstream: ChildProcess?
  /// Added to the pipeline, the uplink and the spool in the configuration.
  private var options: Options

  struct Options {
    var pipeline = ""
    /// Added to its batching.
    var batch = ""
    var pipelineName = "machines"
    var uplinkName = "central"
    var uplink = ""
    var spool = ""
    var source = ""
    /// Of the broker as the daemon sees it; nil: the broker itself.
    var url: String?
    /// Instead of the HTTP uplink.
    var uplinkKind: String?
    /// Where the HTTP API listens: `127.0.0.1:0` where it is what is tested.
    var listen = "off"
    /// Added to the settings of the API.
    var status = ""
    var extra = ""
    var brokerConfiguration = ""
  }

  init(_ label: String, _ options: Options = Options()) throws {
    directory = try TemporaryDirectory(label)
    broker = try MosquittoBroker(
      "max_queued_messages 1000000\n" + options.brokerConfiguration, persistence: true)
    upstreamPort = try freePort()
    self.options = options
    try configure(options)
  }

  deinit {
    for process in [daemon, upstream] {
      process?.signal(SIGKILL)
      _ = process?.wait(seconds: 5)
    }
    broker.stop()
  }

  /// The program under test lies beside the bundle of tests.
  static let forebay: String = {
    if let named = ProcessInfo.processInfo.environment["FOREBAY_BINARY"] { return named }
    let bundle = CommandLine.arguments.first { $0.contains(".xctest") }
    if let bundle, let end = bundle.range(of: "/[^/]*\\.xctest.*$", options: .regularExpression) {
      return bundle[..<end.lowerBound] + "/forebay"
    }
    return root + "/.build/debug/forebay"
  }()

  static let root = String(#filePath.components(separatedBy: "/Tests/EndToEndTests/")[0])

  // MARK: Configuration

  var configurationPath: String { directory.file("forebay.yaml") }
  var spool: String { directory.file("spool") }
  var store: String { directory.file("upstream") }

  func configure(_ options: Options) throws {
    self.options = options
    let kind =
      options.uplinkKind ?? "http: { url: \"http://127.0.0.1:\(upstreamPort)/v1/batches\", timeout: 2 s }"
    try directory.write(
      """
      gateway: { id: gw }
      sources:
        floor:
          mqtt:
            url: "\(options.url ?? "mqtt://127.0.0.1:\(broker.port)")"
            \(options.source)
      spool: { directory: spool, max: 512 MiB, min_free: 1 MiB, \(options.spool) }
      pipelines:
        \(options.pipelineName):
          from: ["sensors/{device}/{series}"]
          key: device
          time: { field: ts, unit: ms }
          batch: { max_age: 200 ms, max_bytes: 32 KiB\(options.batch) }
          to: \(options.uplinkName)
          \(options.pipeline)
      uplinks:
        \(options.uplinkName):
          \(kind)
          retry: { initial: 50 ms, max: 1 s, hold: 1 s }
          \(options.uplink)
      shutdown: { grace: 20 s }
      status: { listen: "\(options.listen)"\(options.status) }
      \(options.extra)
      """, to: "forebay.yaml")
  }

  // MARK: Processes

  func startDaemon(environment: [String: String] = [:]) throws {
    try launchDaemon(environment: environment)
    try wait("the daemon answers") { (try? status()) != nil }
    // What is published to a broker that knows no session of ours yet is for nobody. Where there is no
    // broker, or one that refuses us, the test has other concerns.
    _ = try eventually(within: MosquittoBroker.accepts(port: broker.port) ? 3 : 0) {
      try status().sources.allSatisfy(\.subscribed)
    }
  }

  /// Starts it and does not wait for anything.
  @discardableResult
  func launchDaemon(environment: [String: String] = [:]) throws -> ChildProcess {
    let child = try ChildProcess(
      House.forebay, ["run", "--config", configurationPath, "--state", directory.path],
      environment: environment, output: directory.file("daemon.log"))
    daemon = child
    return child
  }

  func killDaemon() {
    daemon?.signal(SIGKILL)
    _ = daemon?.wait(seconds: 10)
    daemon = nil
  }

  /// SIGTERM; the exit status, nil when it did not end in time.
  func stopDaemon() -> Int32? {
    daemon?.signal(SIGTERM)
    defer { daemon = nil }
    return daemon?.wait(seconds: 40)
  }

  func startUpstream(fail rules: [String] = []) throws {
    if !rules.isEmpty { try setFaults(rules, signal: false) }
    try launchUpstream()
    try wait("the upstream listens") { MosquittoBroker.accepts(port: upstreamPort) }
  }

  /// Starts it and does not wait for anything.
  @discardableResult
  func launchUpstream(environment: [String: String] = [:]) throws -> ChildProcess {
    let child = try ChildProcess(
      House.forebay, ["receive", "--listen", "127.0.0.1:\(upstreamPort)", "--store", store],
      environment: environment, output: directory.file("upstream.log"))
    upstream = child
    return child
  }

  func killUpstream() {
    upstream?.signal(SIGKILL)
    _ = upstream?.wait(seconds: 10)
    upstream = nil
  }

  /// Makes the running upstream fail so from now on.
  func setFaults(_ rules: [String], signal: Bool = true) throws {
    mkdir(store, 0o755)
    try rules.joined(separator: "\n").write(toFile: store + "/fail", atomically: true, encoding: .utf8)
    if signal { upstream?.signal(SIGHUP) }
  }

  func simulate(_ arguments: [String], log: String = "devices.log") throws -> ChildProcess {
    try ChildProcess(
      House.forebay, ["simulate", "--url", "mqtt://127.0.0.1:\(broker.port)", "--json"] + arguments,
      output: directory.file(log))
  }

  /// Simulates to the end; fails unless everything was acknowledged.
  func publish(devices: Int, count: Int, rate: Int = 0, seed: Int = 1, firstSeq: Int = 1) throws {
    let child = try simulate([
      "--devices", "\(devices)", "--count", "\(count)", "--seed", "\(seed)", "--first-seq", "\(firstSeq)",
      rate > 0 ? "--total-rate" : "--rate", "\(rate)",
    ])
    guard child.wait(seconds: 120) == 0 else {
      throw Trouble(description: TemporaryDirectory.read(directory.file("devices.log")))
    }
  }

  // MARK: What came of it

  struct Status: Decodable {
    struct Pipeline: Decodable {
      var name: String
      var backlog: Int
      var openReadings: Int
      var outboxReadings: Int
      var delivered: Int
      var deadLetters: Int
      var deadLettersExpired: Int
      var decoded: Int
    }
    struct Uplink: Decodable {
      var state: String
      var answers: [String: Int]
      var holds: [String]
      var lastError: String?
    }
    struct Source: Decodable {
      var state: String
      var subscribed: Bool
      var messages: Int
      var redelivered: Int
      var reconnects: Int
      var detail: String?
    }
    struct Spool: Decodable {
      var received: Int
      var parked: String?
    }
    struct Alarm: Decodable {
      var kind: String
      var text: String
    }
    var residentBytes: Int
    /// Where the HTTP API listens.
    var listen: String?
    var pipelines: [Pipeline]
    var uplinks: [Uplink]
    var sources: [Source]
    var spool: Spool
    var alarms: [Alarm]
  }

  func status() throws -> Status {
    let answer = try run("status", ["--json", "--socket", spool + "/forebay.sock"])
    do {
      return try JSONDecoder().decode(Status.self, from: Data(answer.output.utf8))
    } catch {
      let log = TemporaryDirectory.read(directory.file("daemon.log")).suffix(3_000)
      throw Trouble(description: "no status: \(answer.output)\nthe daemon's log ends:\n\(log)")
    }
  }

  func run(_ command: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
    try ChildProcess.run(House.forebay, [command] + arguments)
  }

  func wait(
    _ what: String, within seconds: Double = 30, _ condition: () throws -> Bool
  ) throws {
    guard try eventually(within: seconds, condition) else {
      let log = TemporaryDirectory.read(directory.file("daemon.log")).suffix(3_000)
      throw Trouble(description: "waited \(seconds) s in vain until \(what); the daemon's log ends:\n\(log)")
    }
  }

  /// Waits until `received` messages are in the log and everything is read, sealed and delivered.
  func settle(received: Int, within seconds: Double = 60) throws {
    try wait("everything is delivered", within: seconds) {
      guard let status = try? status(), let pipeline = status.pipelines.first else { return false }
      return status.spool.received >= received && pipeline.backlog == 0 && pipeline.openReadings == 0
        && pipeline.outboxReadings == 0
    }
  }

  /// The same where repeats on the way in are allowed for: until so many different messages have arrived.
  func settle(distinct: Int) throws {
    try wait("every message has arrived", within: 90) { try Set(delivered()).count >= distinct }
    try settle(received: distinct)
  }

  struct Reading: Hashable {
    var device: String
    var seq: Int
  }

  /// Every reading that the upstream holds, in the order of its chains.
  func delivered() throws -> [Reading] {
    try House.readings(try run("receive", ["--store", store, "--export"]).output)
  }

  static func readings(_ ndjson: String) throws -> [Reading] {
    struct Line: Decodable {
      struct Payload: Decodable {
        var device: String
        var seq: Int
      }
      var key: String
      var data: Payload
    }
    let decoder = JSONDecoder()
    return try ndjson.split(separator: "\n").map { text in
      let line = try decoder.decode(Line.self, from: Data(text.utf8))
      guard line.key == line.data.device else {
        throw Trouble(description: "the key \(line.key) is not the device of \(text)")
      }
      return Reading(device: line.data.device, seq: line.data.seq)
    }
  }

  struct Verdict: Decodable {
    struct Chain: Decodable {
      var verdict: String
    }
    var complete: Bool
  }

  /// Checks that the upstream's chains verify and that the gateway's books balance.
  func expectProof(sourceLocation: SourceLocation = #_sourceLocation) throws {
    let chain = try run("receive", ["--store", store, "--verify"])
    #expect(chain.status == 0, "\(chain.output)", sourceLocation: sourceLocation)
    try expectBalance(sourceLocation: sourceLocation)
  }

  func expectBalance(sourceLocation: SourceLocation = #_sourceLocation) throws {
    let audit = try run("audit", ["--spool", spool])
    #expect(audit.status == 0, "\(audit.output)", sourceLocation: sourceLocation)
  }

  /// Checks that every message of `devices` devices is there, and exactly once unless repeats are
  /// allowed for.
  func expectDelivered(
    count: Int, repeatsAllowed: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let readings = try delivered()
    let distinct = Set(readings)
    #expect(distinct.count == count, "messages that arrived", sourceLocation: sourceLocation)
    if !repeatsAllowed {
      #expect(readings.count == count, "readings, repeats included", sourceLocation: sourceLocation)
    }
    // Each device numbers from 1 without gaps.
    for (device, own) in Dictionary(grouping: distinct, by: \.device) {
      #expect(
        own.map(\.seq).max() == own.count, "\(device) has a gap", sourceLocation: sourceLocation)
    }
  }
}
