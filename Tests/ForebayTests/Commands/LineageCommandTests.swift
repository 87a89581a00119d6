import ArgumentParser
import Compression
import Foundation
import Pipeline
import Telemetry
import TestSupport
import Testing

@testable import Spool
@testable import forebay

@Suite("Lineage")
struct LineageCommandTests {
  private func climate(_ numbers: Range<Int>) -> [(device: String, payload: String)] {
    numbers.map { (device: "p\($0 % 3)", payload: #"{"n":\#($0),"t":21.5}"#) }
  }

  private func lines(_ batch: Batch) throws -> [[UInt8]] {
    LineageData.lines(try Gzip.decompress(batch.body, maximumOutput: batch.length))
  }

  private func tracer(_ plant: TrialPlant, _ batch: Batch) throws -> LineTracer {
    let account = try #require(try plant.account(batch.identity))
    return LineTracer(
      batch: account.batch, settings: try #require(account.settings), reader: try plant.spool.reader())
  }

  @Test("a batch is told with its chain, version, steps, messages and delivery, before and after it is delivered")
  func text() throws {
    let plant = try TrialPlant("key: device, where: n <> 4")
    try plant.take(climate(0..<3))
    try plant.deliver()
    try plant.take([(device: "p1", payload: "oops")] + climate(3..<6))
    let batch = try plant.lastBatch()
    var account = try #require(try plant.account(batch.identity))
    let waiting = LineageText(account).text
    #expect(waiting.contains("batch \(batch.identity)") && waiting.contains("waits      for central"))
    #expect(waiting.contains("2 lines in") && waiting.contains("offsets 4 to 6 of log"), "\(waiting)")
    #expect(waiting.contains(", all kept") && waiting.contains("5. where n <> 4"), "\(waiting)")
    #expect(waiting.contains("/1, digest \(batch.previous.hex)") && !waiting.contains("BROKEN"))
    try plant.deliver()
    account = try #require(try plant.account(batch.identity))
    let delivered = LineageText(account).text
    #expect(delivered.contains("delivered  2026-11-") && delivered.contains("Z to central"), "\(delivered)")
    #expect(try account.topics(in: try plant.spool.reader()).map(\.messages) == [1, 1, 1])
    var broken = account
    broken.before?.digest = .zero
    #expect(LineageText(broken).text.contains("THE CHAIN IS BROKEN"))
    #expect(try plant.account(BatchIdentity("gw/climate/\(batch.identity.epoch)/9")!) == nil)
  }

  @Test("a line's message is proved where the messages give the batch's digest again, delivered or not")
  func proved() throws {
    let plant = try TrialPlant("key: device, where: n <> 4")
    try plant.take([(device: "p1", payload: "oops")] + climate(3..<8))
    let batch = try plant.lastBatch()
    let lines = try lines(batch)
    try plant.deliver()
    for (number, offset) in [1, 3, 4, 5].enumerated() {
      for line in [nil, lines[number]] {
        let answer = try tracer(plant, batch).trace(number: number, line: line)
        #expect(answer.certainty == .proved && answer.offsets == [Offset(Int64(offset))], "\(answer)")
        #expect(answer.line == lines[number])
      }
    }
    // A line of another batch proves nothing.
    let other = try tracer(plant, batch).trace(number: nil, line: Array(#"{"n":99}"#.utf8))
    #expect(other.certainty == .none && other.offsets.isEmpty)
  }

  @Test("where the pipeline remembered something, only the line itself leads to its message, and else to candidates")
  func dedupe() throws {
    let plant = try TrialPlant("key: device, dedupe: { by: [n], within: 1 h }")
    try plant.take(climate(0..<3))
    try plant.take(climate(0..<6) + [(device: "p0", payload: #"{"n":3, "t":21.5}"#)])
    let batch = try plant.lastBatch()
    #expect(batch.count == 3)
    // Of the batch's own range nothing is missing from memory: it begins behind the duplicates.
    #expect(try tracer(plant, batch).trace(number: 2, line: nil).offsets == [Offset(8)])
    try plant.take([(device: "p0", payload: #"{"n":7}"#)] + climate(0..<2) + [(device: "p0", payload: #"{"n":8}"#)])
    let later = try plant.lastBatch()
    #expect(later.count == 2 && later.firstOffset == Offset(10) && later.lastOffset == Offset(13))
    let blind = try tracer(plant, later).trace(number: 1, line: nil)
    #expect(blind.certainty == .candidates && blind.offsets.map(\.rawValue) == [10, 11, 12, 13])
    #expect(blind.reason.contains("--data"))
    let known = try tracer(plant, later).trace(number: 1, line: try lines(later)[1])
    #expect(known.certainty == .matched && known.offsets == [Offset(13)])
  }

  @Test("a window's result leads to the readings of its key and time, surely where they are as many as it counts")
  func windows() throws {
    let plant = try TrialPlant("key: device, time: { field: ts, unit: s }")
    try plant.take(
      (0..<12).map { (device: "p\($0 % 2)", payload: #"{"ts":\#(1_000 + $0),"t":\#($0)}"#) })
    let batch = try plant.lastBatch()
    func result(_ count: Int, key: String = "p1", start: String = "1970-01-01T00:16:40Z") -> [UInt8] {
      Array(
        (#"{"key":"\#(key)","time":"\#(start)","data":{"mean":1,"window":{"start":"\#(start)","#
          + #""end":"1970-01-01T00:16:46Z","count":\#(count),"offsets":[1, 5]}}}"#).utf8)
    }
    let tracer = try tracer(plant, batch)
    let sure = try tracer.trace(number: nil, line: result(3))
    #expect(sure.certainty == .matched && sure.offsets.map(\.rawValue) == [1, 3, 5], "\(sure)")
    let unsure = try tracer.trace(number: nil, line: result(2))
    #expect(unsure.certainty == .candidates && unsure.count == 3)
    #expect(try tracer.trace(number: nil, line: result(2, key: "p9")).certainty == .none)
    #expect(
      try tracer.trace(number: nil, line: result(2, start: "1970-01-01T00:16:44Z")).offsets.map(\.rawValue) == [5])
  }

  @Test("data is the batch's by its digest, packed or not, or one line, and nothing else")
  func data() throws {
    let plant = try TrialPlant()
    try plant.take(climate(0..<3))
    let batch = try plant.lastBatch()
    let lineage = BatchLineage(batch, uplink: "central")
    let body = try Gzip.decompress(batch.body, maximumOutput: batch.length)
    for bytes in [body, batch.body, try Zstd.Compressor().compress(body)] {
      guard case .batch(let lines) = try LineageData(bytes, of: lineage) else {
        Issue.record("not the batch")
        continue
      }
      #expect(lines.count == 3)
    }
    guard case .line(let line) = try LineageData(Array("{}\n".utf8), of: lineage) else {
      Issue.record("not a line")
      return
    }
    #expect(line == Array("{}".utf8))
    #expect(throws: LineageData.Fault.self) { try LineageData(body.dropLast() + Array("x\n".utf8), of: lineage) }
    #expect(throws: LineageData.Fault.self) { try LineageData([0x1F, 0x8B, 1], of: lineage) }
  }

  @Test("the command ends with 1 for what is not known, with 2 for a line that cannot be, and 64 for no batch")
  func exits() throws {
    let plant = try TrialPlant()
    try plant.take(climate(0..<3))
    let sink = ["--spool", plant.folder, "--json"]
    func run(_ arguments: [String]) throws {
      var command = try Forebay.parseAsRoot(["lineage"] + arguments + sink); try command.run()
    }
    try run(["climate/1"])
    try run(["climate/1", "--line", "3"])
    #expect(throws: ExitCode(1)) { try run(["climate/7"]) }
    #expect(throws: ExitCode(1)) { try run(["other/1"]) }
    #expect(throws: ExitCode(2)) { try run(["climate/1", "--line", "4"]) }
    #expect(throws: ExitCode(2)) { try run(["climate/1", "--data", plant.directory.file("none")]) }
    for wrong in [["climate"], ["a/b/c/d"], ["climate/0"], ["climate/1", "--line", "0"]] {
      let error = #expect(throws: (any Error).self) { try Forebay.parseAsRoot(["lineage"] + wrong) }
      #expect(Forebay.exitCode(for: try #require(error)) == .validationFailure, "\(wrong)")
    }
  }
}

private let openLineage =
  (ProcessInfo.processInfo.environment["FOREBAY_VECTORS"].map { URL(fileURLWithPath: $0) }
  ?? URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
  .appendingPathComponent("shared/vectors")).appendingPathComponent("openlineage")

@Suite(
  "OpenLineage",
  .enabled(
    if: FileManager.default.fileExists(atPath: openLineage.path),
    "SKIPPED: the OpenLineage schemas are not at ../shared/vectors; set FOREBAY_VECTORS to their folder"))
struct OpenLineageTests {
  /// The published schemas by their `$id`.
  private static let resources: [String: [UInt8]] = {
    var resources: [String: [UInt8]] = [:]
    for name in (try? FileManager.default.contentsOfDirectory(atPath: openLineage.path)) ?? []
    where name.hasSuffix(".json") {
      guard let data = try? Data(contentsOf: openLineage.appendingPathComponent(name)),
        let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any], let id = object["$id"] as? String
      else { continue }
      resources[id] = Array(data)
    }
    return resources
  }()

  private static func schema(_ reference: String) throws -> JSONSchema {
    let resources = resources
    return try JSONSchema(
      compiling: Array(#"{"$ref":"\#(reference)"}"#.utf8), options: .init(assertsFormat: true),
      resources: { resources[$0] })
  }

  private static func violation(_ json: [UInt8], _ schema: JSONSchema) throws -> String? {
    try json.withUnsafeBytes { bytes in
      var tape = JSONTape()
      try tape.read(bytes)
      return schema.violations(of: tape, in: bytes, limit: 5).map { "\($0)" }.joined(separator: "\n")
    }.nonEmpty
  }

  private func event(_ plant: TrialPlant, topics: Bool) throws -> [UInt8] {
    let account = try #require(try plant.account(try plant.lastBatch().identity))
    let found = topics ? try account.topics(in: try plant.spool.reader()) : []
    return Array(try Output.json(OpenLineageEvent(account, topics: found)).utf8)
  }

  @Test("a batch's event fits the published schema, and each of its facets the facet's own", arguments: [true, false])
  func validates(topics: Bool) throws {
    let plant = try TrialPlant("key: device, where: n > 0, select: [n, t]")
    try plant.take((0..<4).map { (device: "p\($0 % 2)", payload: #"{"n":\#($0),"t":1}"#) })
    let event = try event(plant, topics: topics)
    #expect(try Self.violation(event, try Self.schema("https://openlineage.io/spec/2-0-2/OpenLineage.json")) == nil)
    #expect(try Self.violation(event, try Self.schema(OpenLineageEvent.schemaURL)) == nil)
    let object = try #require(try JSONSerialization.jsonObject(with: Data(event)) as? [String: Any])
    var facets = 0
    func visit(_ value: Any) throws {
      if let list = value as? [Any] { return try list.forEach(visit) }
      guard let members = value as? [String: Any] else { return }
      if let reference = members["_schemaURL"] as? String {
        facets += 1
        let json = Array(try JSONSerialization.data(withJSONObject: members))
        #expect(try Self.violation(json, try Self.schema(reference)) == nil, "\(reference)")
      }
      try members.values.forEach(visit)
    }
    try visit(object)
    #expect(facets == (topics ? 8 : 6))
    let inputs = try #require(object["inputs"] as? [[String: Any]])
    #expect(
      inputs.map { "\($0["namespace"] ?? "") \($0["name"] ?? "")" }
        == (topics
          ? ["mqtt://floor sensors/p0/climate", "mqtt://floor sensors/p1/climate"]
          : ["mqtt sensors/{device}/climate"]))
    #expect((object["job"] as? [String: Any])?["namespace"] as? String == "gw")
  }

  @Test("what the schema demands is looked for: an event without its run, or with a wrong id, does not fit")
  func refuses() throws {
    let plant = try TrialPlant()
    try plant.take([(device: "p", payload: "{}")])
    let text = String(decoding: try event(plant, topics: true), as: UTF8.self)
    let schema = try Self.schema(OpenLineageEvent.schemaURL)
    let id = OpenLineageEvent.runID(try plant.lastBatch().identity)
    #expect(text.contains(id))
    for wrong in [text.replacing(id, with: "17"), text.replacing("\"run\"", with: "\"ran\"")] {
      #expect(try Self.violation(Array(wrong.utf8), schema) != nil)
    }
  }

  @Test("the run's id is a UUID of the batch's identity, the same for its parts")
  func runID() throws {
    let whole = try #require(BatchIdentity("gw/climate/00c0ffee00c0ffee/17"))
    let part = try #require(BatchIdentity("gw/climate/00c0ffee00c0ffee/17.1/2"))
    let other = try #require(BatchIdentity("gw/climate/00c0ffee00c0ffee/18"))
    let id = OpenLineageEvent.runID(whole)
    #expect(id == OpenLineageEvent.runID(part) && id != OpenLineageEvent.runID(other))
    let uuid = try #require(UUID(uuidString: id)).uuid
    #expect(uuid.6 >> 4 == 8 && uuid.8 >> 6 == 2 && id == id.lowercased())
  }
}

extension String {
  fileprivate var nonEmpty: String? { isEmpty ? nil : self }
}
