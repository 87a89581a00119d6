import Foundation
import Logging
import Pipeline
import Telemetry
import TestSupport
import Testing

@testable import Spool
@testable import forebay

@Suite("Devices as the daemon sees them")
struct LiveDevicesTests {
  /// A worker beside a plant is a daemon without brokers and uplinks.
  private static func worker(_ plant: TrialPlant) throws -> PipelineWorker {
    let moment = TrialPlant.moment(1_795_231_080_000_000_000)
    let worker = PipelineWorker(
      spool: plant.spool, moment: { moment }, logger: .init(label: "t") { _ in SwiftLogNoOpLogHandler() }, onSealed: {})
    let text = try String(contentsOfFile: plant.config, encoding: .utf8)
    try worker.start(
      PipelineWorker.Plan(
        try Configuration.decode(
          Configuration.Origin(path: plant.config, bytes: Array(text.utf8)), shownAs: "test", files: .system,
          toleratesSurroundings: true)))
    return worker
  }

  private static func append(_ plant: TrialPlant, _ payloads: [(device: String, payload: String)]) throws {
    var group = MessageGroup(boot: BootID(high: 1, low: 2))
    for (number, message) in payloads.enumerated() {
      group.append(
        Message(
          origin: Origin(source: "floor", topic: "sensors/\(message.device)/climate"),
          payload: Array(message.payload.utf8), qos: .atLeastOnce, packetID: 1,
          received: TrialPlant.moment(1_795_231_000_000_000_000 + Int64(number) * 1_000_000_000)))
    }
    try plant.spool.log.append(group)
  }

  private struct Shown: Decodable {
    struct Device: Decodable {
      var device: String
      var readings: Int
      var perSecond: Double?
      var lastSeen: String
      var missing: Int?
      var value: [String: String]?
      var valueTime: String?
      var line: String?
      var noValue: String?
    }
    var known: Int
    var devices: [Device]
    var next: String?
  }

  private static func ask(_ worker: PipelineWorker, _ query: DeviceQuery) async throws -> Shown {
    guard case .document(let bytes) = try await worker.devices(query, now: 1_795_231_010_000_000_000) else {
      throw LiveDevices.Failure(description: "no document")
    }
    return try JSONDecoder().decode(Shown.self, from: Data(bytes))
  }

  @Test("have their last value as it is delivered, masked, and their gaps; pages follow each other")
  func values() async throws {
    let plant = try TrialPlant(
      "key: device, sequence: n, where: \"n > 0\", select: [s, owner], mask: { owner: drop, s: { keep_last: 2 } }")
    let worker = try Self.worker(plant)
    try Self.append(
      plant,
      [
        ("a", #"{"n":1,"s":"abcdef","owner":"Ann"}"#), ("b", #"{"n":1,"s":"ghijkl","owner":"Bob"}"#),
        ("a", #"{"n":5,"s":"mnopqr","owner":"Cid"}"#), ("a", #"{"n":-1,"s":"no","owner":"Dot"}"#),
        ("c\"d", #"{"n":2,"s":"stuvwx","owner":"Eve"}"#),
      ])
    worker.wake()
    #expect(await eventuallyAsync { await worker.look(at: "climate") { $0.devices?.count } == 3 })
    let whole = try await Self.ask(worker, DeviceQuery(pipeline: "climate", limit: 10, values: .objects))
    #expect(whole.known == 3 && whole.devices.map(\.device) == ["a", "b", "c\"d"] && whole.next == nil)
    #expect(whole.devices.map(\.readings) == [2, 1, 1])
    #expect(whole.devices.map(\.value) == [["s": "****qr"], ["s": "****kl"], ["s": "****wx"]])
    #expect(whole.devices.map(\.missing) == [3, 0, 0])
    #expect(whole.devices[0].lastSeen.hasPrefix("2026-11-21T03:16:42"))
    #expect(abs((whole.devices[0].perSecond ?? 0) - 1.0 / 10) < 0.001, "silent for longer than usual")
    let page = try await Self.ask(worker, DeviceQuery(pipeline: "climate", limit: 2))
    #expect(page.devices.map(\.device) == ["a", "b"] && page.next == "b" && page.devices[0].value == nil)
    let rest = try await Self.ask(
      worker, DeviceQuery(pipeline: "climate", limit: 2, after: page.next, values: .lines))
    #expect(rest.devices.map(\.device) == ["c\"d"] && rest.next == nil)
    #expect(rest.devices[0].line?.contains(#""key":"c\"d""#) == true && rest.devices[0].line?.contains("Eve") == false)
    let named = try await Self.ask(worker, DeviceQuery(pipeline: "climate", limit: 9, names: ["b", "x"]))
    #expect(named.devices.map(\.device) == ["b"])
    guard case .unknownPipeline = try await worker.devices(DeviceQuery(pipeline: "x", limit: 1), now: 0) else {
      Issue.record("a pipeline that is none")
      return
    }
    await worker.finish(deadline: 0)
    #expect(await worker.look(at: "climate") { $0.version } == nil, "nobody waits for a thread that has ended")
  }

  @Test("readings of windows are shown as they went in, several of one message each by its own device")
  func windows() async throws {
    let plant = try TrialPlant(
      "key: d, each: r, time: { field: ts, unit: s }, dedupe: { within: 1 h }, "
        + "window: { every: 1 h, emit: { n: count(*) } }")
    let worker = try Self.worker(plant)
    try Self.append(
      plant, [("x", #"{"ts":1795231000,"r":[{"d":"a","s":"1"},{"d":"b","s":"1"},{"d":"a","s":"2"}]}"#)])
    worker.wake()
    #expect(await eventuallyAsync { await worker.look(at: "climate") { $0.devices?.count } == 2 })
    let shown = try await Self.ask(worker, DeviceQuery(pipeline: "climate", limit: 10, values: .objects))
    #expect(shown.devices.map(\.value) == [["d": "a", "s": "2"], ["d": "b", "s": "1"]])
    #expect(shown.devices[0].valueTime == "2026-11-21T03:16:40Z")
    await worker.finish(deadline: 0)
  }

  @Test("are none with devices: off, and not with a bound that is out of range")
  func off() async throws {
    let plant = try TrialPlant("key: device, devices: off")
    let worker = try Self.worker(plant)
    guard case .off = try await worker.devices(DeviceQuery(pipeline: "climate", limit: 1), now: 0) else {
      Issue.record("devices: off")
      return
    }
    await worker.finish(deadline: 0)
    let directory = try TemporaryDirectory("devices")
    func decode(_ value: String) throws -> Configuration {
      try Configuration.decode(
        Configuration.Origin(
          path: directory.file("f.yaml"), bytes: Array(TrialPlant.text("devices: \(value)", in: directory).utf8)),
        shownAs: "f.yaml", files: .system, toleratesSurroundings: true)
    }
    #expect(try decode("500").pipelines[0].devices == 500)
    for wrong in ["0", "100001", "many"] {
      #expect(throws: ConfigurationErrors.self, "\(wrong)") { try decode(wrong) }
    }
  }

  @Test("are merged with what the stages remember, and told for people")
  func merging() throws {
    let plant = try TrialPlant("key: device, sequence: n")
    try plant.take([(device: "b", payload: #"{"n":1}"#), (device: "a", payload: #"{"n":1}"#)])
    let stored = try #require(try StoredStages.read([.sequence], of: "climate", in: plant.folder))
    let settings = try #require(
      PipelineWorker.assignments(keptIn: plant.folder)("climate", stored.configuration)?.settings)
    let list = try DeviceList(stored.stages, settings: settings)
    let live = LiveDevices(
      pipeline: "climate", socket: "/none",
      [
        DeviceReport(device: "b", lastSeen: "2026-11-21T03:18:00Z", readings: 4, perSecond: 0.5),
        DeviceReport(device: "aa", lastSeen: "2026-11-21T03:18:00Z", readings: 1),
      ])
    let merged = live.merged(list, worst: false)
    #expect(merged.map(\.device) == ["a", "aa", "b"] && merged.map(\.readings) == [nil, 1, 4])
    #expect(merged[2].received == 1 && merged[2].perSecond == 0.5)
    #expect(live.merged(list, worst: true).map(\.device) == ["a", "b", "aa"])
    #expect(LiveDevices.ago("2026-11-21T03:18:00Z", now: 1_795_231_143_000_000_000) == "1 min 3 s ago")
    #expect(LiveDevices.ago("2026-11-21T03:18:00Z", now: 0) == "2026-11-21T03:18:00.000Z")
    #expect([12.34, 0.5, 0.01, 0.0001].map(LiveDevices.rate) == ["12.3/s", "30.0/min", "36.0/h", "0.4/h"])
  }

  @Test("a request is one line, none asks for the status, and what is no request is refused")
  func requests() throws {
    let query = DeviceQuery(pipeline: "p\n\"", limit: 3, after: "ä", names: ["x"], values: .lines)
    let line = LocalRequest.devices(query).line
    #expect(line.filter { $0 == UInt8(ascii: "\n") }.count == 1)
    #expect(LocalRequest(line: line) == .devices(query) && LocalRequest(line: LocalRequest.status.line) == .status)
    #expect(LocalRequest(line: []) == .status && LocalRequest(line: Array("{}".utf8)) == .status)
    #expect(LocalRequest(line: Array("GET /".utf8)) == nil)
    #expect(LocalRequest(line: Array(#"{"devices":{"pipeline":1}}"#.utf8)) == nil)
  }
}

/// Waits a while for something that comes from another thread.
private func eventuallyAsync(_ condition: () async -> Bool) async -> Bool {
  for _ in 0..<1_000 {
    if await condition() { return true }
    try? await Task.sleep(nanoseconds: 10_000_000)
  }
  return false
}
