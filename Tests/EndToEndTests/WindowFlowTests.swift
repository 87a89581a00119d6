import Foundation
import TestSupport
import Testing

@Suite("Windows on real files")
struct WindowFlowTests {
  private struct Result: Hashable {
    var device: String
    var start: String
    var count: Int
    var isComplete: Bool
  }

  private static func results(_ ndjson: String) throws -> [Result] {
    struct Line: Decodable {
      struct Payload: Decodable {
        struct Window: Decodable {
          var start: String
          var complete: Bool
        }
        var window: Window
        var n: Int
      }
      var key: String
      var data: Payload
    }
    return try ndjson.split(separator: "\n").map { text in
      let line = try JSONDecoder().decode(Line.self, from: Data(text.utf8))
      return Result(
        device: line.key, start: line.data.window.start, count: line.data.n, isComplete: line.data.window.complete)
    }
  }

  private static let options: House.Options = {
    var options = House.Options()
    options.pipeline = "window: { every: 1 s, late: 1 s, idle_after: 1 s, emit: { n: count(*) } }"
    return options
  }()

  private static func results(of house: House) throws -> [Result] {
    try results(try house.run("receive", ["--store", house.store, "--export"]).output)
  }

  private static func waitForAll(_ count: Int, in house: House) throws {
    try house.wait("the windows of \(count) readings have arrived", within: 60) {
      try Set(results(of: house)).reduce(0) { $0 + $1.count } >= count
    }
  }

  @Test("Each reading is in one result, once, though the daemon is killed while windows are open")
  func kills() throws {
    let house = try House("window-kills", Self.options)
    try house.startUpstream()
    try house.startDaemon()
    let devices = try house.simulate(["--devices", "10", "--count", "3000", "--seed", "5", "--total-rate", "600"])
    for taken in [500, 1_200, 2_000] {
      try house.wait("\(taken) messages are taken in") { ((try? house.status())?.spool.received ?? 0) >= taken }
      house.killDaemon()
      try house.startDaemon()
    }
    #expect(devices.wait(seconds: 60) == 0)
    try Self.waitForAll(3_000, in: house)
    let results = try Self.results(of: house)
    #expect(
      results.reduce(0) { $0 + $1.count } == 3_000 && Set(results.map { [$0.device, $0.start] }).count == results.count)
    #expect(house.stopDaemon() == 0)
    try house.expectProof()
  }

  @Test("Windows that were open when state.db was damaged come whole, from the log")
  func damaged() throws {
    let house = try House("window-damage", Self.options)
    try house.startUpstream()
    try house.startDaemon()
    let devices = try house.simulate(["--devices", "10", "--count", "3000", "--seed", "6", "--total-rate", "600"])
    // Beyond the first mark that the mirror gets while the flow goes on.
    try house.wait("2,000 messages are taken in") { ((try? house.status())?.spool.received ?? 0) >= 2_000 }
    house.killDaemon()
    let file = try #require(FileHandle(forUpdatingAtPath: house.spool + "/state.db"))
    try file.write(contentsOf: Data("this is no database at all".utf8))
    try file.close()
    try house.startDaemon()
    #expect(devices.wait(seconds: 60) == 0)
    try Self.waitForAll(3_000, in: house)
    let results = try Self.results(of: house)
    // Possible duplicates say the same as before.
    #expect(Set(results.map { [$0.device, $0.start] }).count == Set(results).count)
    #expect(Set(results).reduce(0) { $0 + $1.count } == 3_000)
    #expect(!results.contains { !$0.isComplete })
    #expect(house.stopDaemon() == 0)
    try house.expectProof()
  }
}
