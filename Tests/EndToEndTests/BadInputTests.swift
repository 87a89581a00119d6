import Foundation
import TestSupport
import Testing

@Suite("Bad input")
struct BadInputTests {
  @Test("payloads that cannot be read become dead letters with their bytes, and the rest goes on")
  func payloads() throws {
    var options = House.Options()
    options.source = "max_packet: 16 MiB"
    options.spool = "group: { max_bytes: 1 MiB }"
    let house = try House("payloads", options)
    try house.startUpstream()
    try house.startDaemon()
    let bad: [(bytes: [UInt8], rule: String)] = [
      ([], "json.empty"),
      (Array("{\"ts\":1,".utf8), "json.syntax"),
      (Array("{\"ts\":1,\"v\":\"".utf8) + [0xC3, 0x28] + Array("\"}".utf8), "json.utf8"),
      (Array(String(repeating: "[", count: 100_000).utf8), "json.depth"),
      (Array(repeating: UInt8(ascii: "a"), count: 10 << 20), "json.syntax"),
      (Array("[1,2]".utf8), "json.not-object"),
      (Array("{\"value\":1}".utf8), "time.missing"),
      (Array("{\"ts\":\"noon\"}".utf8), "time.type"),
      (Array("{\"ts\":1e300}".utf8), "time.range"),
    ]
    for (index, payload) in bad.enumerated() {
      let file = house.directory.file("payload\(index)")
      try Data(payload.bytes).write(to: URL(fileURLWithPath: file))
      let sent = try ChildProcess.run(
        "mosquitto_pub",
        ["-h", "127.0.0.1", "-p", "\(house.broker.port)", "-q", "1", "-t", "sensors/bad/\(index)", "-f", file])
      #expect(sent.status == 0, "\(sent.output)")
    }
    try house.publish(devices: 3, count: 300)
    try house.wait("all is read") {
      let status = try house.status()
      return status.spool.received == 300 + bad.count && status.pipelines[0].deadLetters == bad.count
        && status.pipelines[0].delivered == 300
    }
    struct Letter: Decodable {
      var id: Int
      var rule: String
      var topic: String
      var reason: String
    }
    let list = try house.run("dead-letters", ["list", "--json", "--spool", house.spool])
    let letters = try JSONDecoder().decode([Letter].self, from: Data(list.output.utf8))
    #expect(letters.map(\.rule) == bad.map(\.rule))
    #expect(letters.allSatisfy { !$0.reason.isEmpty && $0.topic.hasPrefix("sensors/bad/") })
    for (letter, payload) in zip(letters, bad) {
      let raw = house.directory.file("raw")
      let show = try ChildProcess(
        House.forebay, ["dead-letters", "show", "\(letter.id)", "--raw", "--spool", house.spool], output: raw)
      #expect(show.wait(seconds: 30) == 0)
      #expect(try Data(contentsOf: URL(fileURLWithPath: raw)) == Data(payload.bytes), "\(payload.rule)")
      try FileManager.default.removeItem(atPath: raw)
    }
    try house.expectDelivered(count: 300)
    try house.expectProof()
  }

  @Test("dead letters are run again once the pipeline can read them, or discarded, and the books follow")
  func requeue() throws {
    let house = try House("requeue")
    try house.startUpstream()
    try house.startDaemon()
    try house.broker.publish(
      "sensors/late/x", (1...20).map { "{\"device\":\"late\",\"seq\":\($0),\"when\":1700000000000}" },
      qos: 1)
    try house.wait("they are refused") { try house.status().pipelines[0].deadLetters == 20 }
    let discard = try house.run("dead-letters", ["discard", "1", "2", "--spool", house.spool])
    #expect(discard.status == 0, "\(discard.output)")
    let again = try house.run("dead-letters", ["requeue", "3", "--spool", house.spool])
    #expect(again.status == 0, "\(again.output)")
    try house.wait("the third is refused once more") {
      try house.run("dead-letters", ["show", "3", "--json", "--spool", house.spool])
        .output.contains("\"attempts\" : 1")
    }
    let text = try String(contentsOfFile: house.configurationPath, encoding: .utf8)
    try text.replacingOccurrences(of: "field: ts", with: "field: when")
      .write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
    house.daemon?.signal(SIGHUP)
    let log = house.directory.file("daemon.log")
    try house.wait("it is reloaded") { TemporaryDirectory.read(log).contains("configuration reloaded") }
    let all = try house.run(
      "dead-letters", ["requeue", "--rule", "time.missing", "--spool", house.spool])
    #expect(all.status == 0, "\(all.output)")
    try house.wait("they are delivered") { try house.delivered().count == 18 }
    #expect(Set(try house.delivered().map(\.seq)) == Set(3...20))
    let nothing = try house.run("dead-letters", ["discard", "--all", "--spool", house.spool])
    #expect(nothing.status == 1, "\(nothing.output)")
    let careless = try house.run("dead-letters", ["discard", "--spool", house.spool])
    #expect(careless.status == 64, "\(careless.output)")
    try house.expectProof()
  }

  @Test("dead letters keep within their bytes; the rest is run again within a budget, and at a rate through a kill")
  func boundedLetters() throws {
    struct Requeued: Decodable {
      var letters: Int
      var overBudget: Int
      var bytes: Int
    }
    struct Count: Decodable {
      var rule: String
      var count: Int
      var expired: Int
    }
    var options = House.Options()
    options.pipeline = "dead_letters: { keep: 1 d, max: 64 KiB }"
    let house = try House("bounded", options)
    try house.startUpstream()
    try house.startDaemon()
    let place = ["--spool", house.spool]
    let payloads = (1...600).map { "{\"device\":\"late\",\"seq\":\($0),\"when\":1700000000000}" }
    try house.broker.publish("sensors/late/x", payloads, qos: 1)
    try house.wait("all are refused, and most have expired") {
      let pipeline = try house.status().pipelines[0]
      return pipeline.deadLetters + pipeline.deadLettersExpired == 600 && pipeline.deadLetters < 300
    }
    let kept = try house.status().pipelines[0].deadLetters
    #expect(kept > 100)
    let alarm = try #require(try house.status().alarms.first { $0.kind == "dead-letters" })
    #expect(alarm.text.contains("machines") && alarm.text.contains("time.missing"), "\(alarm.text)")
    #expect(try house.status().spool.parked == nil)
    let counted = try house.run("dead-letters", ["counts", "--json"] + place)
    let counts = try JSONDecoder().decode([Count].self, from: Data(counted.output.utf8))
    #expect(counts.map(\.rule) == ["time.missing"] && counts.map(\.count) == [kept])
    #expect(counts.map(\.expired) == [600 - kept])
    try house.expectBalance()

    options.pipeline = "dead_letters: { keep: 1 d, max: 1 MiB }"
    try house.configure(options)
    let text = try String(contentsOfFile: house.configurationPath, encoding: .utf8)
    try text.replacingOccurrences(of: "field: ts", with: "field: when")
      .write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
    house.daemon?.signal(SIGHUP)
    let log = house.directory.file("daemon.log")
    try house.wait("it is reloaded") { TemporaryDirectory.read(log).contains("configuration reloaded") }
    let some = try house.run(
      "dead-letters", ["requeue", "--topic", "sensors/late/#", "--since", "1h", "--budget", "1KiB", "--json"] + place)
    let requeued = try JSONDecoder().decode(Requeued.self, from: Data(some.output.utf8))
    #expect(some.status == 0 && requeued.letters + requeued.overBudget == kept)
    #expect(requeued.bytes > 950 && requeued.bytes <= 1024 && requeued.letters > 15)
    try house.wait("they are delivered") { try house.delivered().count == requeued.letters }
    // The oldest that were left, each once.
    let first = 600 - kept + 1
    #expect(try house.delivered().map(\.seq).sorted() == Array(first..<first + requeued.letters))

    let all = try house.run("dead-letters", ["requeue", "--all", "--rate", "25/s"] + place)
    #expect(all.status == 0 && all.output.contains("at most 25/s"), "\(all.output)")
    try house.wait("some are delivered") { try house.delivered().count > requeued.letters }
    house.killDaemon()
    let before = try house.delivered().count
    #expect(before < kept)
    try house.startDaemon()
    try house.wait("all are delivered") { try house.delivered().count == kept }
    #expect(try house.delivered().map(\.seq).sorted() == Array(first...600))
    try house.wait("none is left") { try house.status().pipelines[0].deadLetters == 0 }
    try house.expectProof()
  }

  @Test("a full disk stops taking in, loses nothing that was acknowledged, and is over when there is room")
  func fullDisk() throws {
    let house = try House("full")
    try house.startUpstream()
    try house.startDaemon()
    let pid = try #require(house.daemon?.pid)
    let devices = try house.simulate(["--devices", "20", "--count", "12000", "--total-rate", "3000"])
    for part in 1...3 {
      try house.wait("messages flow") { try house.status().spool.received > part * 1_000 }
      // No file may grow any more: what a full disk does to a write, without filling a disk.
      let limit = try ChildProcess.run("prlimit", ["--pid", "\(pid)", "--fsize=65536:"])
      try #require(limit.status == 0, "\(limit.output)")
      let log = house.directory.file("daemon.log")
      try house.wait("a commit fails") {
        TemporaryDirectory.read(log).contains("full") || TemporaryDirectory.read(log).contains("disk I/O")
      }
      let stuck = try house.run("audit", ["--spool", house.spool])
      #expect(stuck.status == 0, "\(stuck.output)")
      let lifted = try ChildProcess.run("prlimit", ["--pid", "\(pid)", "--fsize=unlimited:"])
      try #require(lifted.status == 0, "\(lifted.output)")
      try house.wait("it goes on") {
        let received = try house.status().spool.received
        return received > part * 1_000 + 500
      }
    }
    #expect(devices.wait(seconds: 120) == 0)
    try house.settle(distinct: 12_000)
    try house.expectDelivered(count: 12_000, repeatsAllowed: true)
    try house.expectProof()
  }

  @Test("the byte cap parks the session, the broker keeps the rest, and delivery frees the way again")
  func byteCap() throws {
    var options = House.Options()
    options.spool = "keep: 0 s"
    let house = try House("cap", options)
    let text = try String(contentsOfFile: house.configurationPath, encoding: .utf8)
    try text.replacingOccurrences(of: "max: 512 MiB", with: "max: 64 MiB")
      .write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
    try house.startDaemon()
    // Random letters, which do not compress: 84 MB, three quarters of which remain, for a cap of 64 MiB.
    var random = SplitMix(seed: 3)
    let lines = (1...4_200).map { number in
      let noise = (0..<2_500).map { _ in Letters.digits[Int(random.next() % 64)] }
      let more = (0..<17_500).map { _ in Letters.digits[Int(random.next() % 64)] }
      return "{\"device\":\"big\",\"seq\":\(number),\"ts\":1700000000000,\"noise\":\"\(String(noise + more))\"}"
    }
    try house.broker.publish("sensors/big/noise", lines, qos: 1)
    try house.wait("it is parked", within: 60) {
      let status = try house.status()
      return status.spool.parked != nil && status.sources[0].state == "parked"
    }
    let parked = try house.status().spool.received
    #expect(parked < 4_200)
    try house.expectBalance()
    try house.startUpstream()
    try house.settle(received: 4_200, within: 120)
    #expect(Set(try house.delivered().map(\.seq)) == Set(1...4_200))
    try house.expectProof()
  }

  @Test("starting is refused with the place of the error when nothing is kept from before")
  func firstStart() throws {
    let house = try House("first")
    try house.directory.write("gateway: { id: gw }\nsources: [oops]\n", to: "forebay.yaml")
    let answer = try house.run(
      "run", ["--config", house.configurationPath, "--state", house.directory.path])
    #expect(answer.status == 1)
    #expect(answer.output.contains("forebay.yaml:2:"), "\(answer.output)")
    let missing = try house.run("run", ["--config", "/nowhere/forebay.yaml", "--state", house.directory.path])
    #expect(missing.status == 1 && missing.output.contains("/nowhere/forebay.yaml"), "\(missing.output)")
  }

  @Test("a second daemon on the same spool is refused in words")
  func secondDaemon() throws {
    let house = try House("second")
    try house.startDaemon()
    let answer = try house.run(
      "run", ["--config", house.configurationPath, "--state", house.directory.path])
    #expect(answer.status == 1)
    #expect(answer.output.contains("another forebay runs on this spool"), "\(answer.output)")
  }

  @Test("commands on a spool that is not there say so and exit 2")
  func noSpool() throws {
    for command in [["audit"], ["log", "show"], ["dead-letters", "list"]] {
      let answer = try ChildProcess.run(House.forebay, command + ["--spool", "/nowhere/at-all"])
      #expect(answer.status == 2, "\(command): \(answer.output)")
      #expect(answer.output.contains("/nowhere/at-all"), "\(command): \(answer.output)")
    }
  }
}

private enum Letters {
  static let digits = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/")
}
