import Foundation
import TestSupport
import Testing

/// `forebay fleet` as it is typed, against gateways that are processes of their own.
@Suite("End to end: the fleet", .serialized) struct FleetTests {
  struct Document: Decodable {
    struct Gateway: Decodable {
      struct Status: Decodable {
        var gateway: String
        var messagesReceived: Int?
      }
      var name: String
      var url: String
      var state: String
      var reason: String?
      var labels: [String: String]?
      var status: Status?
    }
    var version: Int
    var total: Int
    var states: [String: Int]
    var gateways: [Gateway]
  }

  /// Simulated gateways; they end with it.
  final class Gateways {
    let folder: TemporaryDirectory
    private let child: ChildProcess
    var inventory: String { folder.file("fleet.txt") }

    init(_ arguments: String...) throws {
      folder = try TemporaryDirectory("gateways")
      child = try ChildProcess(
        House.forebay, ["simulate-gateways", "--inventory", folder.file("fleet.txt")] + arguments,
        output: folder.file("log"))
      guard eventually(within: 20, { !TemporaryDirectory.read(folder.file("fleet.txt")).isEmpty }) else {
        throw House.Trouble(description: TemporaryDirectory.read(folder.file("log")))
      }
    }

    deinit {
      child.signal(SIGTERM)
      _ = child.wait(seconds: 10)
    }
  }

  static func fleet(_ arguments: String...) throws -> (status: Int32, output: String) {
    try ChildProcess.run(House.forebay, ["fleet"] + arguments)
  }

  private func document(_ arguments: String...) throws -> Document {
    let answer = try ChildProcess.run(House.forebay, ["fleet"] + arguments + ["--json", "--fail-on", "never"])
    #expect(answer.status == 0, "\(answer.output)")
    return try JSONDecoder().decode(Document.self, from: Data(answer.output.utf8))
  }

  @Test("a third of the gateways dead, slow or lying: the others are all asked, and the faulty named")
  func faulty() throws {
    let gateways = try Gateways("--count", "300", "--faulty-every", "3")
    let document = try document("--inventory", gateways.inventory, "--timeout", "1500ms")
    #expect(document.version == 1 && document.total == 300)
    for gateway in document.gateways {
      let isWell = gateway.labels?["behaviour"] == "well"
      let isSeen = ["ok", "warning", "critical"].contains(gateway.state)
      let seen = "\(gateway.name): \(gateway.labels ?? [:]) is \(gateway.state), \(gateway.reason ?? "")"
      #expect(isWell == isSeen, "\(seen)")
      #expect(isWell || gateway.reason?.isEmpty == false)
    }
    let states = document.gateways.map(\.state)
    #expect(states.first == "critical" && states.last == "ok", "the worst first")
    // The rules, and what ends with 1.
    let common = ["--inventory", gateways.inventory, "--timeout", "1500ms", "--limit", "3"]
    let usual = try ChildProcess.run(House.forebay, ["fleet"] + common)
    #expect(usual.status == 1 && usual.output.contains("--fail-on critical is met by 4 gateways"), "\(usual.output)")
    #expect(usual.output.contains("... and 297 more gateways (--limit)"), "\(usual.output)")
    let lenient = try ChildProcess.run(
      House.forebay, ["fleet"] + common + ["--fail-on", "unreachable=50%", "invalid=50%", "critical=4"])
    #expect(lenient.status == 0, "\(lenient.output)")
  }

  @Test("gateways that run are asked over their API; who answers with another's id, and who has gone, is named")
  func daemons() throws {
    var options = House.Options()
    options.listen = "127.0.0.1:0"
    let house = try House("fleet", options)
    try house.startUpstream()
    try house.startDaemon()
    try house.publish(devices: 3, count: 60)
    try house.settle(received: 60)
    let port = try #require(try house.listening())
    let here = "http://127.0.0.1:\(port)"
    let first = try document(here)
    #expect(first.gateways.first?.name == "gw" && first.gateways.first?.status?.messagesReceived ?? 0 >= 60)
    #expect(["ok", "warning"].contains(first.gateways.first?.state), "\(first.gateways)")
    let list = try house.directory.write("\(here) name=other\n", to: "fleet.txt")
    let other = try document("--inventory", list)
    #expect(other.gateways.first?.state == "invalid")
    #expect(other.gateways.first?.reason == "answers as 'gw', and the inventory says 'other'")
    _ = house.stopDaemon()
    let gone = try document(here)
    #expect(gone.gateways.first?.state == "unreachable", "\(gone.gateways)")
  }

  @Test("while it serves, a list that was changed is taken over at SIGHUP, a bad one is not, and the end is by rule")
  func serves() throws {
    let gateways = try Gateways("--count", "8")
    let lines = TemporaryDirectory.read(gateways.inventory).split(separator: "\n").map(String.init)
    let list = try gateways.folder.write(lines[0] + "\n", to: "list.txt")
    let log = gateways.folder.file("fleet.log")
    let child = try ChildProcess(
      House.forebay,
      ["fleet", "--inventory", list, "--every", "1s", "--serve", "127.0.0.1:0", "--fail-on", "unreachable"],
      output: log)
    #expect(eventually(within: 10) { TemporaryDirectory.read(log).contains("listening on ") })
    let address = try #require(
      TemporaryDirectory.read(log).split(separator: "\n").first { $0.hasPrefix("listening on ") }?.dropFirst(13))
    func page() throws -> String { try ChildProcess.run("curl", ["-s", "http://\(address)/metrics"]).output }
    #expect(try eventually(within: 10) { try page().contains(#"forebay_fleet_gateways{state="ok"} 1"#) })
    try gateways.folder.write(lines[..<7].joined(separator: "\n"), to: "list.txt")
    child.signal(SIGHUP)
    #expect(try eventually(within: 10) { try page().contains(#"forebay_fleet_gateways{state="ok"} 7"#) })
    try gateways.folder.write("http://a\nhttp://a\n", to: "list.txt")
    child.signal(SIGHUP)
    #expect(eventually(within: 10) { TemporaryDirectory.read(log).contains("the list of before stays") })
    #expect(try page().contains(#"forebay_fleet_gateways{state="ok"} 7"#))
    child.signal(SIGTERM)
    #expect(child.wait(seconds: 10) == 0, "\(TemporaryDirectory.read(log))")
  }

  @Test("what it cannot work with ends it with 2 and the reason")
  func unusable() throws {
    let missing = try FleetTests.fleet("--inventory", "/nonexistent/fleet.yaml")
    #expect(
      missing.status == 2
        && missing.output == "forebay fleet: /nonexistent/fleet.yaml cannot be read: No such file or directory\n",
      "\(missing.output)")
    let folder = try TemporaryDirectory("fleet")
    let list = try folder.write("gateways:\n- { url: 'http://a', nmae: b }\n", to: "fleet.yaml")
    let wrong = try FleetTests.fleet("--inventory", list)
    #expect(wrong.status == 2 && wrong.output.contains("fleet.yaml:2:"), "\(wrong.output)")
    #expect(try FleetTests.fleet("http://a", "--token-file", "/nonexistent").status == 2)
    #expect(try FleetTests.fleet().status == 64)
    #expect(try FleetTests.fleet("http://a", "--serve", "0.0.0.0:0").status == 64)
  }

  @Test("each command that listens says in words that its port is taken, and what names another")
  func taken() throws {
    let folder = try TemporaryDirectory("taken")
    let other = try LoopbackListener()
    let place = "127.0.0.1:\(other.port)"
    for (command, arguments, option) in [
      ("fleet", ["http://127.0.0.1:1", "--serve", place], "--serve"),
      ("receive", ["--store", folder.file("upstream"), "--listen", place], "--listen"),
      ("simulate-gateways", ["--listen", place], "--listen"),
    ] {
      let (status, output) = try ChildProcess.run(House.forebay, [command] + arguments)
      #expect(status == 2)
      #expect(output == "forebay \(command): \(place) is taken by another program: name another with \(option)\n")
    }
  }
}

extension House {
  /// The port of the daemon's API; nil where it does not listen.
  func listening() throws -> Int? {
    struct Listening: Decodable { var listen: String? }
    let answer = try run("status", ["--json", "--socket", spool + "/forebay.sock"])
    let listening = try JSONDecoder().decode(Listening.self, from: Data(answer.output.utf8))
    return listening.listen.flatMap { $0.split(separator: ":").last.flatMap { Int($0) } }
  }
}
