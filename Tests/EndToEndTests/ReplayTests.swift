import Foundation
import TestSupport
import Testing

@Suite("A replay")
struct ReplayTests {
  struct Report: Decodable {
    var id: String
    var state: String
    var messages: Int
    var read: Int
    var readings: Int
    var batches: Int
    var bytes: Int
    var outboxReadings: Int
    var delivered: Int
  }

  private struct Estimate: Decodable {
    var messages: Int
    var readings: Int
    var batches: Int
    var bytes: Int
  }

  private func decode<T: Decodable>(_ house: House, _ arguments: [String]) throws -> T {
    let answer = try house.run("replay", arguments + ["--json", "--spool", house.spool])
    guard answer.status == 0 else { throw House.Trouble(description: "\(arguments): \(answer.output)") }
    return try JSONDecoder().decode(T.self, from: Data(answer.output.utf8))
  }

  private func report(_ house: House, _ id: String) throws -> Report { try decode(house, ["show", id]) }

  /// Readings by the epoch of their batches.
  private func readings(_ house: House) throws -> [String: [House.Reading]] {
    let export = try house.run("receive", ["--store", house.store, "--export", "--with-identity"]).output
    var lines: [String: [Substring]] = [:]
    for line in export.split(separator: "\n") {
      let parts = line.split(separator: "\t", maxSplits: 1)
      lines[String(parts[0].split(separator: "/")[2]), default: []].append(parts[1])
    }
    return try lines.mapValues { try House.readings($0.joined(separator: "\n")) }
  }

  /// So many readings of each of four devices.
  private func send(_ house: House, count: Int, firstSeq: Int) throws {
    try house.publish(devices: 4, count: 4 * count, rate: 800, firstSeq: firstSeq)
  }

  @Test("killed in its midst, it delivers each reading once under its own epoch, and what is live is undisturbed")
  func killed() throws {
    var options = House.Options()
    options.spool = "linger: 10 ms"
    options.pipeline = "dedupe: { by: [seq], within: 1 h }"
    let house = try House("replay", options)
    try house.startUpstream()
    try house.startDaemon()
    try send(house, count: 200, firstSeq: 1)
    try house.settle(received: 800)
    let live = try readings(house)
    #expect(live.count == 1 && live.values.first?.count == 800)

    // The estimate tells what comes, and leaves nothing behind.
    let range = ["--pipeline", "machines", "--from", "0", "--to", "799"]
    let estimate: Estimate = try decode(house, range + ["--dry-run"])
    let none: [Report] = try decode(house, ["list"])
    #expect(estimate.messages == 800 && estimate.readings == 800 && none.isEmpty)

    let begun: Report = try decode(house, range + ["--rate", "200"])
    #expect(begun.messages == 800)
    try house.wait("some of it is delivered") { try report(house, begun.id).delivered >= 100 }
    house.killDaemon()
    let atDeath = try report(house, begun.id)
    #expect(atDeath.state == "running" && atDeath.read < 800)
    // It dies at every kind of commit, and goes on each time.
    for point in ["sealing:2", "sealed:2", "confirmed:1", "received-receipt:1"] {
      let daemon = try house.launchDaemon(environment: ["FOREBAY_FAILPOINT": point])
      #expect(daemon.wait(seconds: 30) != nil, "\(point) was never reached")
    }
    try house.startDaemon()
    try send(house, count: 100, firstSeq: 201)
    try house.wait("all of it is delivered") {
      let report = try report(house, begun.id)
      return report.state == "finished" && report.outboxReadings == 0
    }
    try house.settle(received: 1_200)

    let done = try report(house, begun.id)
    #expect(done.delivered == 800 && done.read == 800 && done.batches == estimate.batches)
    #expect(done.bytes == estimate.bytes)
    let all = try readings(house)
    #expect(all.count == 2)
    for (epoch, readings) in all {
      let count = live[epoch] == nil ? 800 : 1_200
      #expect(readings.count == count && Set(readings).count == count, "\(epoch)")
    }
    try house.expectProof()
    let verdict = try house.run("receive", ["--store", house.store, "--verify"])
    #expect(verdict.output.contains("(replay \(begun.id)): complete"), "\(verdict.output)")
  }

  @Test("it is paused, resumed and cancelled beside a running daemon, and status and audit know it")
  func commands() throws {
    var options = House.Options()
    options.spool = "linger: 10 ms"
    let house = try House("replaycommands", options)
    try house.startUpstream()
    try house.startDaemon()
    try send(house, count: 100, firstSeq: 1)
    try house.settle(received: 400)
    let place = ["--spool", house.spool]
    let begun: Report = try decode(house, ["--pipeline", "machines", "--from", "1 h", "--rate", "40"])
    try house.wait("it runs") { try report(house, begun.id).read > 0 }
    let status = try house.run("status", ["--socket", house.spool + "/forebay.sock"])
    #expect(status.status == 0 && status.output.contains("\(begun.id)  machines  running"), "\(status.output)")
    #expect(try house.run("replay", ["pause", begun.id] + place).status == 0)
    let paused = try report(house, begun.id)
    #expect(paused.state == "paused" && paused.read < 400)
    #expect(try house.run("replay", ["pause", begun.id] + place).status == 1)
    #expect(try house.run("audit", place).output.contains("machines#\(begun.id)"))
    #expect(try house.run("replay", ["resume", begun.id, "--rate", "100000"] + place).status == 0)
    try house.wait("it ends") { try report(house, begun.id).state == "finished" }

    let second = try house.run("replay", ["--pipeline", "machines", "--from", "0", "--wait"] + place)
    #expect(second.status == 0 && second.output.contains("400 delivered"), "\(second.output)")
    let tight = try house.run(
      "replay", ["--pipeline", "machines", "--from", "0", "--budget", "100 B", "--wait"] + place)
    #expect(tight.status == 1 && tight.output.contains("its budget of 100 B"), "\(tight.output)")
    let open: [Report] = try decode(house, ["list"])
    let third = try #require(open.last)
    #expect(open.count == 3 && third.state == "paused" && third.delivered == 0)
    #expect(try house.run("replay", ["cancel", third.id] + place).status == 0)
    #expect(try report(house, third.id).state == "cancelled")
    #expect(try house.run("replay", ["cancel", third.id] + place).status == 1)
    #expect(try house.run("replay", ["show", "nonsense"] + place).status == 1)
    #expect(try house.run("replay", ["--pipeline", "none", "--from", "0"] + place).status == 1)
    #expect(try house.run("replay", ["--pipeline", "machines", "--from", "5000"] + place).status == 1)
    try house.expectProof()
  }
}
