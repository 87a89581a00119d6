import Foundation
import TestSupport
import Testing

/// `forebay status` in a terminal, and where there is none.
@Suite("The status on the screen")
struct ScreenTests {
  /// What a terminal of 80 columns and 24 lines gets, and the exit status.
  private static func inTerminal(
    _ arguments: [String], seconds: Double = 0, environment: [String: String] = [:]
  ) throws -> (status: Int32, output: String) {
    let script = House.root + "/Tests/EndToEndTests/terminal.py"
    let run = try ChildProcess.run(
      "python3", [script, "80", "24", "\(seconds)", House.forebay] + arguments,
      environment: ["TERM": "xterm", "NO_COLOR": ""].merging(environment) { $1 })
    let lines = run.output.split(separator: "\n")
    let status = try #require(lines.last.flatMap { $0.hasPrefix("exit ") ? Int32($0.dropFirst(5)) : nil }, "\(run)")
    return (status, lines.dropLast().joined(separator: "\n"))
  }

  @Test("is one coloured screen, drawn in place with --watch until Ctrl-C, and plain where nobody looks")
  func screen() throws {
    let house = try House("screen")
    try house.startUpstream()
    try house.startDaemon()
    try house.publish(devices: 2, count: 100)
    try house.settle(received: 100)
    let place = ["--socket", house.spool + "/forebay.sock"]

    let once = try Self.inTerminal(["status"] + place)
    #expect(once.status == 0 && once.output.hasPrefix("\u{1B}[1;32mok\u{1B}[0m  gw  forebay "), "\(once.output)")
    #expect(once.output.split(separator: "\n", omittingEmptySubsequences: false).count <= 24)
    #expect(!once.output.contains("\u{1B}[H"))
    let uncoloured = try Self.inTerminal(["status"] + place, environment: ["NO_COLOR": "1"])
    #expect(uncoloured.output.hasPrefix("ok  gw  ") && !uncoloured.output.contains("\u{1B}"))

    let watched = try Self.inTerminal(["status", "--watch", "0.2"] + place, seconds: 2)
    #expect(watched.status == 0)
    // The alternate screen is taken first and given back last, and in between it is never blanked.
    let enter = "\u{1B}[?1049h\u{1B}[?25l\u{1B}[2J"
    #expect(watched.output.hasPrefix(enter), "\(watched.output)")
    #expect(watched.output.contains("\u{1B}[?25h\u{1B}[?1049l"))
    let frames = watched.output.dropFirst(enter.count).components(separatedBy: "\u{1B}[H").dropFirst()
    #expect(frames.count >= 3 && frames.allSatisfy { $0.hasPrefix("\u{1B}[1;32mok\u{1B}[0m") }, "\(frames.count)")
    #expect(!frames.joined().contains("\u{1B}[2J"))
    #expect(frames.allSatisfy { $0.components(separatedBy: "\r\n").count <= 24 })
    // The first look knows no rates; the second one does.
    let second = try #require(frames.dropFirst().first?.components(separatedBy: "\r\n"))
    #expect(second.contains { $0.hasPrefix("floor ") && $0.contains("  0.0  ") }, "\(second)")

    let piped = try ChildProcess(
      House.forebay, ["status", "--watch", "0.1"] + place, output: house.directory.file("watch.txt"))
    func looks() -> Int {
      TemporaryDirectory.read(house.directory.file("watch.txt")).components(separatedBy: "ok  gw  forebay").count - 1
    }
    try house.wait("it has looked three times") { looks() >= 3 }
    // What it cannot reach any more it says, and goes on.
    #expect(house.stopDaemon() == 0)
    try house.wait("it says so") {
      TemporaryDirectory.read(house.directory.file("watch.txt")).contains("\nNO ANSWER: cannot connect to ")
    }
    piped.signal(SIGTERM)
    #expect(piped.wait(seconds: 10) == 128 + SIGTERM)
    #expect(!TemporaryDirectory.read(house.directory.file("watch.txt")).contains("\u{1B}"))
    #expect(try house.run("status", ["--watch"] + place).status == 2)
  }

  @Test("alarms come first, and end a single look with 1")
  func alarms() throws {
    let house = try House("screenalarm")
    house.broker.stop()
    try house.startDaemon()
    try house.wait("there is an alarm") { try !house.status().alarms.isEmpty }
    let once = try Self.inTerminal(["status", "--socket", house.spool + "/forebay.sock"])
    #expect(once.status == 1, "\(once.output)")
    let lines = once.output.replacing("\r", with: "").components(separatedBy: "\n")
    #expect(lines[0].contains("m\("warning")\u{1B}[0m") || lines[0].contains("mcritical\u{1B}[0m"), "\(lines)")
    #expect(lines.contains { $0.contains("ALARM source floor") })
  }
}
