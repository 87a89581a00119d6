import Foundation
import TestSupport
import Testing

/// One section of docs/operations.md: an alarm's kind, and the commands that its runbook tells to run.
struct Runbook: Sendable {
  /// Empty: what stands before the first section.
  var kind = ""
  var commands: [String] = []

  static let all: [Runbook] = {
    let page = (try? String(contentsOfFile: House.root + "/docs/operations.md", encoding: .utf8)) ?? ""
    var books = [Runbook()]
    var isCommand = false
    for line in page.components(separatedBy: "\n") {
      if line.hasPrefix("```") {
        isCommand = line == "```sh"
      } else if isCommand {
        books[books.count - 1].commands.append(line)
      } else if line.hasPrefix("## ") {
        books.append(Runbook(kind: String(line.dropFirst(3))))
      }
    }
    return books
  }()
}

@Suite("The runbooks of docs/operations.md")
struct RunbookTests {
  /// A house in which the commands mean what they mean on a gateway: `forebay` finds the configuration in its default
  /// place, and systemctl and journalctl know the unit.
  private struct Stage {
    let house: House
    let bin: String

    init(_ house: House) throws {
      self.house = house
      bin = house.directory.file("bin")
      mkdir(bin, 0o755)
      let place = "--config '\(house.configurationPath)'"
      try script("forebay", "exec '\(House.forebay)' \"$@\" \(place)")
      try script("journalctl", "exec tail -n 50 '\(house.directory.file("daemon.log"))'")
      // A restart is the test's own affair: the unit would be started by systemd.
      try script(
        "systemctl",
        "case $1 in reload) kill -HUP $(cat '\(house.directory.file("pid"))');; restart) ;; *) exit 64;; esac")
      try script("timedatectl", "echo 'System clock synchronized: no'")
    }

    private func script(_ name: String, _ text: String) throws {
      try house.directory.write("#!/bin/sh\n\(text)\n", to: "bin/\(name)")
      chmod(bin + "/" + name, 0o755)
    }

    /// Runs every command of a runbook, in their order.
    func run(_ kind: String) throws {
      let book = try #require(Runbook.all.first { $0.kind == kind }, "there is no section \(kind)")
      try #require(!book.commands.isEmpty, "\(kind) has no commands")
      try house.directory.write("\(house.daemon?.pid ?? 0)", to: "pid")
      for command in book.commands {
        let text = command.replacingOccurrences(of: "/var/lib/forebay", with: house.spool)
          .replacingOccurrences(of: "-p 1883", with: "-p \(house.broker.port)")
        let path = "\(bin):\(ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")"
        let result = try ChildProcess.run("sh", ["-c", text], environment: ["PATH": path])
        // 1 is what commands say that have found something; 2 and 64 that they could not look, 126 and 127 that
        // there is no such command.
        #expect(result.status == 0 || result.status == 1, "\(kind): \(command): \(result.status): \(result.output)")
        let mayBeSilent = command.hasPrefix("systemctl") || command.contains("jq")
        #expect(!result.output.isEmpty || mayBeSilent, "\(kind): \(command)")
      }
    }

    func wait(for kind: String, within seconds: Double = 30) throws {
      try house.wait("there is the alarm \(kind)", within: seconds) {
        try house.status().alarms.contains { $0.kind == kind }
      }
    }
  }

  @Test("their commands run where devices send garbage, nothing can be delivered and the configuration is refused")
  func troubledGateway() throws {
    var options = House.Options()
    options.pipelineName = "climate"
    options.uplinkKind = "file: { directory: out }"
    options.pipeline = "dead_letters: { max: 64 KiB }"
    let house = try House("runbook", options)
    try house.startDaemon()
    let stage = try Stage(house)
    // What is there now is no folder.
    try house.directory.write("in the way", to: "out")
    try house.publish(devices: 2, count: 50)
    let garbage = (0..<200).map { _ in String(repeating: "{", count: 500) }
    try house.broker.publish("sensors/a/b", garbage, qos: 1)
    try stage.wait(for: "uplink")
    try stage.wait(for: "dead-letters")
    for kind in [
      "", "uplink", "backlog", "dead-letters", "objective", "pipelines", "notification", "api", "clock", "credentials",
    ] { try stage.run(kind) }
    for kind in ["subscription", "dropped-by-broker"] { try stage.run(kind) }

    let text = try String(contentsOfFile: house.configurationPath, encoding: .utf8)
    try (text + "\nunknown_key: 1\n").write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
    house.daemon?.signal(SIGHUP)
    try stage.wait(for: "configuration")
    for kind in ["configuration", "table"] { try stage.run(kind) }
    // What stands in the way of the uplink would be the next reason to refuse it.
    try FileManager.default.removeItem(atPath: house.directory.file("out"))
    try text.write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
    try stage.run("configuration")
    try house.wait("the runbook has ended the alarm") {
      try !house.status().alarms.contains { $0.kind == "configuration" }
    }

    house.broker.stop()
    try stage.wait(for: "source")
    try stage.run("source")

    // More than is free, and less than the disk has.
    var disk = statvfs()
    try #require(statvfs(house.directory.path, &disk) == 0)
    let middle = (Int(disk.f_blocks) + Int(disk.f_bavail)) / 2 * Int(disk.f_frsize) / (1 << 20)
    let full = text.replacingOccurrences(of: "min_free: 1 MiB", with: "min_free: \(middle) MiB")
    #expect(full != text)
    try full.write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
    #expect(house.stopDaemon() == 0)
    try house.startDaemon()
    try stage.wait(for: "parked")
    for kind in ["parked", "disk"] { try stage.run(kind) }
  }

  @Test("an alarm is told by webhook and MQTT, and so is its end, with its beginning over a restart")
  func notifications() async throws {
    let server = try await FaultyUpstream { _, number in .answer(number == 0 ? 500 : 200) }
    var options = House.Options()
    options.uplinkKind = "file: { directory: out }"
    options.extra = """
      alarms:
        interval: 1 s
        webhook: { url: "\(server.url(path: "/hook"))" }
        mqtt: { source: floor, topic: plant/gw/alarms }
      """
    let house = try House("notify", options)
    try house.startDaemon()
    try house.directory.write("in the way", to: "out")
    try house.publish(devices: 1, count: 10)
    struct Notice: Decodable, Equatable {
      var event: String
      var kind: String
      var subject: String
      var severity: String
      var since: String
      var gateway: String
    }
    func notices() -> [Notice] {
      server.requests.dropFirst().compactMap { try? JSONDecoder().decode(Notice.self, from: Data($0.body)) }
        .filter { $0.kind == "uplink" }
    }
    try house.wait("the webhook is told, after a refusal", within: 60) { !notices().isEmpty }
    let raised = try #require(notices().first)
    #expect(raised.event == "raised" && raised.subject == "central" && raised.severity == "page")
    #expect(raised.gateway == "gw")
    func retained() throws -> Notice? {
      let (status, output) = try ChildProcess.run(
        "mosquitto_sub",
        ["-h", "127.0.0.1", "-p", "\(house.broker.port)", "-t", "plant/gw/alarms/uplink/central", "-C", "1", "-W", "5"])
      return status == 0 ? try JSONDecoder().decode(Notice.self, from: Data(output.utf8)) : nil
    }
    try house.wait("the broker has it retained") { try retained() == raised }

    // After a restart nobody is told again, and the beginning is the same.
    #expect(house.stopDaemon() == 0)
    try house.startDaemon()
    try house.wait("the alarm is back") { try house.status().alarms.contains { $0.kind == "uplink" } }
    try FileManager.default.removeItem(atPath: house.directory.file("out"))
    try house.settle(received: 10)
    try house.wait("its end is told", within: 240) { notices().last?.event == "resolved" }
    #expect(notices().map(\.event) == ["raised", "resolved"])
    #expect(notices().last?.since.prefix(19) == raised.since.prefix(19))
    try house.wait("the broker has the end retained") { try retained()?.event == "resolved" }
    try house.expectBalance()
    await server.shutdown()
  }
}
