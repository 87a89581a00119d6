import Foundation
import TestSupport
import Testing

@Suite("The flow from devices to the upstream")
struct FlowTests {
  @Test("loses and repeats nothing through ten kill -9 of the daemon, and the books hold after each")
  func killedDaemon() throws {
    let house = try House("kill")
    try house.startUpstream()
    try house.startDaemon()
    let devices = try house.simulate([
      "--devices", "40", "--count", "20000", "--total-rate", "2000",
    ])
    var random = SplitMix(seed: 7)
    for round in 1...10 {
      let before = try house.status().spool.received
      let more = Int(random.next() % 1_000) + 200
      try house.wait("messages flow in round \(round)") {
        try house.status().spool.received >= min(before + more, 20_000)
      }
      house.killDaemon()
      try house.expectBalance()
      try house.startDaemon()
    }
    #expect(devices.wait(seconds: 120) == 0, "everything was acknowledged to the devices")
    try house.settle(distinct: 20_000)
    try house.expectDelivered(count: 20_000)
    try house.expectProof()
    #expect(house.stopDaemon() == 0)
    try house.expectProof()
  }

  @Test("goes on after the broker was stopped and started, with its session and nothing lost")
  func restartedBroker() throws {
    let house = try House("broker")
    try house.startUpstream()
    try house.startDaemon()
    let devices = try house.simulate(["--devices", "20", "--count", "6000", "--total-rate", "1500"])
    for part in 1...2 {
      try house.wait("a part of it has arrived") { try house.status().spool.received > part * 1_000 }
      house.broker.stop()
      try house.wait("the daemon notices") { try house.status().sources[0].state != "connected" }
      try house.broker.start()
    }
    #expect(devices.wait(seconds: 120) == 0)
    try house.settle(distinct: 6_000)
    // What the broker had not acknowledged the devices publish again, under new identifiers.
    try house.expectDelivered(count: 6_000, repeatsAllowed: true)
    try house.expectProof()
  }

  @Test("is drained by SIGTERM, which exits 0, and goes on where it stopped")
  func terminated() throws {
    let house = try House("term")
    try house.startUpstream()
    try house.startDaemon()
    let devices = try house.simulate(["--devices", "20", "--count", "8000", "--total-rate", "2000"])
    for part in 1...3 {
      try house.wait("a part of it has arrived") { try house.status().spool.received > part * 1_500 }
      #expect(house.stopDaemon() == 0)
      // Stopped in order, nothing is left half done: what was taken in is delivered.
      let audit = try house.run("audit", ["--spool", house.spool, "--json"])
      #expect(audit.status == 0)
      let columns = try AuditColumns(audit.output)
      #expect(columns["waiting"] == 0 && columns["outbox"] == 0)
      #expect(columns["delivered"] == columns["received"])
      try house.startDaemon()
    }
    #expect(devices.wait(seconds: 120) == 0)
    try house.settle(received: 8_000)
    try house.expectDelivered(count: 8_000)
    try house.expectProof()
  }

  @Test("takes over another configuration on SIGHUP without losing or repeating a message")
  func reloaded() throws {
    let house = try House("hup")
    try house.startUpstream()
    try house.startDaemon()
    let devices = try house.simulate(["--devices", "20", "--count", "8000", "--total-rate", "2000"])
    for part in 1...4 {
      try house.wait("a part of it has arrived") { try house.status().spool.received > part * 1_200 }
      var options = House.Options()
      // The version changes, then the session, then nothing, then both.
      switch part {
      case 1: options.pipeline = "decode: json"
      case 2: options.source = "keepalive: 30 s"
      case 3: options.source = "keepalive: 30 s"
      default: options.uplink = "concurrency: 2"
      }
      try house.configure(options)
      house.daemon?.signal(SIGHUP)
      try house.wait("the configuration is reloaded") {
        TemporaryDirectory.read(house.directory.file("daemon.log"))
          .components(separatedBy: "configuration reloaded").count == part + 1
      }
    }
    #expect(devices.wait(seconds: 120) == 0)
    try house.settle(received: 8_000)
    try house.expectDelivered(count: 8_000)
    try house.expectProof()
  }

  @Test("keeps the old configuration when the edited one is refused, and tells the place")
  func refusedReload() throws {
    let house = try House("refuse")
    try house.startUpstream()
    try house.startDaemon()
    var options = House.Options()
    options.pipeline = "decod: json"
    try house.configure(options)
    house.daemon?.signal(SIGHUP)
    let log = house.directory.file("daemon.log")
    try house.wait("the refusal is logged") { TemporaryDirectory.read(log).contains("did you mean 'decode'") }
    try house.publish(devices: 5, count: 100)
    try house.settle(received: 100)
    #expect(house.stopDaemon() == 0)
    // At the next start the kept configuration runs, and an alarm says so.
    try house.startDaemon()
    #expect(try house.status().alarms.contains { $0.kind == "configuration" && $0.text.contains("decod") })
    try house.publish(devices: 5, count: 100, seed: 2)
    try house.settle(received: 200)
    try house.expectProof()
  }

  @Test("seals the backlog of a pipeline that the configuration drops before it closes its book")
  func droppedPipeline() throws {
    let house = try House("drop")
    try house.startUpstream(fail: ["503"])
    try house.startDaemon()
    try house.publish(devices: 5, count: 500)
    try house.wait("all is taken in") { try house.status().spool.received == 500 }
    let text = try String(contentsOfFile: house.configurationPath, encoding: .utf8)
    try text.replacingOccurrences(of: "  machines:", with: "  renamed:")
      .write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
    house.daemon?.signal(SIGHUP)
    try house.wait("the new pipeline runs") {
      try house.run("audit", ["--spool", house.spool]).output.contains("machines (no longer configured)")
    }
    try house.setFaults([])
    try house.wait("the outbox of the old one is delivered") { try house.delivered().count == 500 }
    try house.publish(devices: 5, count: 100, seed: 2)
    try house.wait("the new one delivers") { try house.delivered().count == 600 }
    try house.expectProof()
  }

  @Test("shows itself in the demonstration, whose closing audit balances")
  func demonstration() throws {
    let directory = try TemporaryDirectory("demo")
    let data = House.root + "/../shared/data/nab"
    var arguments = ["--seconds", "5", "--folder", directory.file("demo"), "--devices", "20"]
    if FileManager.default.fileExists(atPath: data) { arguments += ["--data", data] }
    let answer = try ChildProcess.run(House.forebay, ["demo"] + arguments)
    #expect(answer.status == 0, "\(answer.output)")
    #expect(answer.output.contains("The books balance."))
    #expect(answer.output.contains("complete: 1 chain"))
  }
}

/// A seeded generator (SplitMix64), so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// The columns of the first pipeline of `audit --json`.
struct AuditColumns: Decodable {
  private struct Pipeline: Decodable { var columns: [String: Int] }
  private var pipelines: [Pipeline]

  init(_ json: String) throws {
    self = try JSONDecoder().decode(AuditColumns.self, from: Data(json.utf8))
  }

  subscript(name: String) -> Int? { pipelines.first?.columns[name] }
}
