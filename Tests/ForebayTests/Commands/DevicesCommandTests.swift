import ArgumentParser
import Foundation
import Pipeline
import Telemetry
import TestSupport
import Testing

@testable import Spool
@testable import forebay

@Suite("Devices of a pipeline")
struct DevicesCommandTests {
  private static let stages = "key: device, sequence: n, drift: true"

  private static func list(_ plant: TrialPlant) throws -> DeviceList {
    let stored = try #require(
      try StoredStages.read([.sequence, .drift], of: "climate", in: plant.folder))
    let settings = try #require(
      PipelineWorker.assignments(keptIn: plant.folder)("climate", stored.configuration)?.settings)
    return try DeviceList(stored.stages, settings: settings)
  }

  private static func run(_ plant: TrialPlant, _ arguments: String...) throws {
    var command = try Forebay.parseAsRoot(["devices", "--spool", plant.folder] + arguments)
    try command.run()
  }

  private func messages(_ device: String, _ numbers: [Int]) -> [(device: String, payload: String)] {
    numbers.map { (device: device, payload: #"{"n":\#($0),"o":{"t":1.5}}"#) }
  }

  @Test("are shown with their numbers and fields as of the last seal, by name or the worst first; nothing is written")
  func list() throws {
    let plant = try TrialPlant(Self.stages)
    try plant.take(
      messages("a", [1, 2, 3]) + messages("b", [1, 9, 3, 9]) + messages("c", [1, 5, 500_000])
        + [(device: "d", payload: #"{"t":"x"}"#)])
    let before = try plant.files()
    let list = try Self.list(plant)
    try Self.run(plant, "--pipeline", "climate")
    try Self.run(plant, "--pipeline", "climate", "--worst", "--limit", "1", "--json")
    #expect(try plant.files() == before)
    #expect(list.count == 4 && list.countsNumbers && list.knowsFields)
    let fields = [("/n", "number"), ("/o", "object"), ("/o/t", "number")].map {
      DeviceReport.Field(field: $0.0, type: $0.1)
    }
    let devices = list.devices(worst: false, limit: .max)
    #expect(
      devices == [
        DeviceReport(
          device: "a", received: 3, missing: 0, repeats: 0, resets: 0, reordered: 0, last: 3, fields: fields),
        DeviceReport(
          device: "b", received: 4, missing: 6, repeats: 1, resets: 0, reordered: 1, last: 9, fields: fields),
        DeviceReport(
          device: "c", received: 3, missing: 3, repeats: 0, resets: 1, reordered: 0, last: 500_000, fields: fields),
        DeviceReport(device: "d", fields: [DeviceReport.Field(field: "/t", type: "string")]),
      ])
    #expect(list.devices(worst: true, limit: .max).map(\.device) == ["b", "c", "a", "d"])
    #expect(list.devices(worst: true, limit: 2).map(\.device) == ["b", "c"])
    #expect(!(try Output.json(devices)).contains("1.5"))
  }

  @Test("are known under the settings of their pipeline, also while it drains")
  func settings() throws {
    let plant = try TrialPlant("key: device, sequence: { field: n, modulus: 256 }")
    try plant.take(messages("a", [254, 255, 0, 2]))
    let list = try Self.list(plant)
    #expect(list.devices(worst: false, limit: 9).map(\.missing) == [1] && !list.knowsFields)
    let stored = try #require(try StoredStages.read([.sequence], of: "climate", in: plant.folder))
    #expect(stored.checkpoint == Offset(4) && stored.stages.map(\.stage) == [.sequence])
    try plant.spool.state.write { connection throws(SpoolError) in
      try connection.run("UPDATE pipeline SET until = 9 WHERE name = 'climate'")
    }
    #expect(try Self.list(plant).count == 1)
    try plant.spool.state.write { connection throws(SpoolError) in
      try connection.run("UPDATE pipeline SET active = 0 WHERE name = 'climate'")
    }
    #expect(try StoredStages.read([.sequence], of: "climate", in: plant.folder) == nil)
  }

  @Test("what a terminal would act on is escaped in their names")
  func names() {
    #expect(Output.plain("p1 ä/°C") == "p1 ä/°C")
    #expect(Output.plain("a\u{1B}[2J\n\u{9B}\u{202E}") == #"a\u{1b}[2J\u{a}\u{9b}\u{202e}"#)
    #expect(Output.plain(String(repeating: "x", count: 61)) == String(repeating: "x", count: 60) + "...")
    #expect(Output.plain(String(repeating: "x", count: 60)) == String(repeating: "x", count: 60))
  }

  @Test("the command ends with 1 where there is nothing to know, with 2 where it cannot be read, 64 for wrong usage")
  func exits() throws {
    let plant = try TrialPlant(Self.stages)
    try Self.run(plant, "--pipeline", "climate")
    try plant.take(messages("a", [1]))
    #expect(throws: ExitCode(1)) { try Self.run(plant, "--pipeline", "weather") }
    let plain = try TrialPlant()
    #expect(throws: ExitCode(1)) { try Self.run(plain, "--pipeline", "climate") }
    try plant.spool.state.write { connection throws(SpoolError) in
      try connection.run("UPDATE stage SET value = x'FF' WHERE stage = 'drift'")
    }
    #expect(throws: ExitCode(2)) { try Self.run(plant, "--pipeline", "climate") }
    var nowhere = try Forebay.parseAsRoot(["devices", "--pipeline", "p", "--spool", plant.directory.file("none")])
    #expect(throws: ExitCode(2)) { try nowhere.run() }
    for wrong in [[], ["--pipeline", "climate", "--limit", "0"]] {
      let error = #expect(throws: (any Error).self) { try Forebay.parseAsRoot(["devices"] + wrong) }
      #expect(Forebay.exitCode(for: try #require(error)) == .validationFailure, "\(wrong)")
    }
  }
}
