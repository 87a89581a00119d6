import Foundation
import TestSupport
import Testing

/// What somebody meets who looks at a gateway that is not well.
@Suite("What an operator sees")
struct OperatorTests {
  private func rewrite(_ house: House, _ change: (String) -> String) throws {
    let text = try String(contentsOfFile: house.configurationPath, encoding: .utf8)
    try change(text).write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
  }

  @Test("a gateway can be looked at whatever is wrong with the file that it is configured by")
  func brokenConfiguration() throws {
    let house = try House("lookat")
    try house.startDaemon()
    try house.publish(devices: 1, count: 10)
    try house.wait("all is in") { try house.status().spool.received == 10 }
    let place = ["--config", house.configurationPath]
    func look(_ what: String) throws {
      for (command, arguments) in [
        ("status", [String]()), ("audit", []), ("dead-letters", ["list"]), ("log", ["show", "--last", "1"]),
      ] {
        let result = try ChildProcess.run(
          House.forebay, [command] + arguments + place, environment: ["STATE_DIRECTORY": house.directory.path])
        #expect(result.status != 2 && result.status != 64, "\(what), \(command): \(result.output)")
      }
    }
    try look("as it is")
    // Refused, so that the daemon runs on the copy; the spool that it names is another.
    try rewrite(house) { $0.replacing("directory: spool", with: "directory: other, bogus: 1") }
    try look("an unknown key")
    try rewrite(house) { "gateway: [\n" + $0 }
    try look("no YAML")
    try FileManager.default.removeItem(atPath: house.configurationPath)
    try look("gone")

    let nowhere = try house.run("audit", ["--config", "/nonexistent/forebay.yaml"])
    #expect(nowhere.status == 2 && nowhere.output.contains("--spool"), "\(nowhere.output)")
    #expect(!nowhere.output.contains("ExitCode"), "\(nowhere.output)")
    let silent = try house.run("status", ["--config", "/nonexistent/forebay.yaml"])
    #expect(silent.status == 2 && silent.output.contains("--socket"), "\(silent.output)")
  }

  @Test("a folder that a file uplink cannot write to is an alarm at once, with its reason, until it is mended")
  func diskAlarm() throws {
    var options = House.Options()
    options.uplinkKind = "file: { directory: out }"
    let house = try House("disk", options)
    try house.startDaemon()
    // After the check at the start: what is there now is no folder.
    try house.directory.write("in the way", to: "out")
    try house.publish(devices: 1, count: 10)
    try house.wait("there is an alarm") { try house.status().alarms.contains { $0.kind == "uplink" } }
    let text = try #require(try house.status().alarms.first { $0.kind == "uplink" }?.text)
    #expect(text.hasPrefix("central: nothing can be delivered, because of this machine: "))
    #expect(text.contains(house.directory.file("out")), "\(text)")
    let people = try house.run("status", ["--socket", house.spool + "/forebay.sock"])
    #expect(people.status == 1 && people.output.contains("ALARM uplink \(text.prefix(40))"), "\(people.output)")
    #expect(try house.status().uplinks[0].state == "retrying")
    try FileManager.default.removeItem(atPath: house.directory.file("out"))
    try house.settle(received: 10)
    #expect(try house.status().alarms.isEmpty)
    #expect(try house.status().uplinks[0].state == "idle")
    try house.expectBalance()
  }

  @Test("dead letters of a pipeline that is gone are not run again but can be discarded, and names are checked")
  func deadLetters() throws {
    let house = try House("letters")
    try house.startUpstream()
    try house.startDaemon()
    let place = ["--spool", house.spool]
    func letters(_ arguments: String...) throws -> (status: Int32, output: String) {
      try house.run("dead-letters", arguments + place)
    }
    let none = try letters("list")
    #expect(none.status == 0 && none.output == "no dead letters\n", "\(none.output)")
    try house.broker.publish("sensors/a/b", ["{", "["], qos: 1)
    try house.wait("they are refused") { try house.status().pipelines[0].deadLetters == 2 }
    let unknown = try letters("list", "--pipeline", "machine")
    #expect(unknown.status == 1 && unknown.output.contains("there is: machines"), "\(unknown.output)")
    let other = try letters("list", "--rule", "time.range")
    #expect(other.status == 0 && other.output == "no dead letters fit\n", "\(other.output)")
    let counted = try letters("counts", "--rule", "time.range")
    #expect(counted.output == "no dead letters fit\n", "\(counted.output)")

    try rewrite(house) { $0.replacing("  machines:", with: "  engines:") }
    house.daemon?.signal(SIGHUP)
    try house.wait("the pipeline is closed") {
      try house.run("audit", place).output.contains("machines (no longer configured)")
    }
    for choice in [["--all"], ["1"], ["--pipeline", "machines"]] {
      let refused = try house.run("dead-letters", ["requeue"] + choice + place)
      #expect(refused.status == 1 && refused.output.contains("no longer configured"), "\(refused.output)")
    }
    #expect(try letters("list").output.contains("machines (no longer configured)"))
    let one = try letters("discard", "1")
    #expect(one.status == 0 && one.output == "1 dead letter discarded\n", "\(one.output)")
    let rest = try letters("discard", "--pipeline", "machines")
    #expect(rest.status == 0, "\(rest.output)")
    try house.expectBalance()
  }

  @Test("the log shows the time that a pipeline reads, and doubts one of 1970")
  func eventTime() throws {
    let house = try House("unit")
    try rewrite(house) { $0.replacing("unit: ms", with: "unit: us") }
    try house.startDaemon()
    try house.publish(devices: 1, count: 3)
    try house.wait("all is in") { try house.status().spool.received == 3 }
    let shown = try house.run("log", ["show", "--spool", house.spool])
    #expect(shown.status == 0 && shown.output.contains("  event 1970-01-"), "\(shown.output)")
    #expect(shown.output.contains("3 messages of these") && shown.output.contains("time.unit"), "\(shown.output)")
    let beyond = try house.run("log", ["show", "--from", "7", "--spool", house.spool])
    #expect(beyond.status == 0 && beyond.output.contains("the log holds the offsets 0 to 2"), "\(beyond.output)")
  }

  @Test("an alarm names a source once, and so does the table")
  func sourceAlarm() throws {
    let house = try House("source")
    try house.startDaemon()
    house.broker.stop()
    try house.wait("there is an alarm") { try house.status().alarms.contains { $0.kind == "source" } }
    let status = try house.status()
    let text = try #require(status.alarms.first { $0.kind == "source" }?.text)
    #expect(text.hasPrefix("floor (127.0.0.1:\(house.broker.port)): "), "\(text)")
    #expect(!text.contains("source floor") && status.sources[0].detail?.contains("floor") == false, "\(text)")
    #expect(text.count { $0 == "(" } == text.count { $0 == ")" }, "\(text)")
  }
}
