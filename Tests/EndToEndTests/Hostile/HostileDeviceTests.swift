import Foundation
import TestSupport
import Testing

@Suite("Hostile devices", .serialized)
struct HostileDeviceTests {
  /// Bytes that the daemon may have in memory, at the middle of all samples: half of a box of 512 MB, for a debug
  /// build, which idles at 45 MB.
  private static let memory = 256 << 20

  private struct Letter: Decodable {
    var topic: String
    var rule: String
  }

  private struct Books: Decodable {
    struct Pipeline: Decodable {
      var name: String
      var columns: [String: Int]
    }
    var balances: Bool
    var pipelines: [Pipeline]

    subscript(pipeline: String, column: String) -> Int {
      pipelines.first { $0.name == pipeline }?.columns[column] ?? -1
    }
  }

  private func books(_ house: House) throws -> Books {
    let audit = try house.run("audit", ["--json", "--spool", house.spool])
    return try JSONDecoder().decode(Books.self, from: Data(audit.output.utf8))
  }

  /// Waits until the log has so many messages and every pipeline has sealed and delivered all that it makes of them.
  private func settle(_ house: House, received: Int, within seconds: Double = 120) throws {
    try house.wait("everything is read and delivered", within: seconds) {
      guard let status = try? house.status(), status.spool.received >= received,
        status.pipelines.allSatisfy({ $0.backlog == 0 && $0.openReadings == 0 && $0.outboxReadings == 0 })
      else { return false }
      return try books(house).pipelines.allSatisfy { $0.columns["waiting"] == 0 }
    }
  }

  /// The readings of the good devices: their pipeline alone has a capture beside the key of this name.
  private func good(_ house: House) throws -> [House.Reading] {
    let lines = try house.run("receive", ["--store", house.store, "--export"]).output.split(separator: "\n")
    return try House.readings(lines.filter { $0.contains("\"captures\":{\"series\":\"") }.joined(separator: "\n"))
  }

  private func expectGood(_ readings: [House.Reading], _ count: Int) {
    #expect(readings.count == count, "readings of the good devices, repeats included")
    #expect(Set(readings).count == count, "different readings of the good devices")
    for (device, own) in Dictionary(grouping: Set(readings), by: \.device) {
      #expect(own.map(\.seq).max() == own.count, "\(device) has a gap")
    }
  }

  private static func megabytes(_ bytes: Int) -> String { "\(bytes >> 20) MiB" }

  // MARK: Bad inputs

  private static let pipelines = [
    "h": "remembering", "k": "named", "lines": "lines", "rows": "rows", "binary": "binary", "packs": "packs",
    "values": "values", "w": "averages",
  ]

  @Test("bad inputs of every kind are each accounted for, the good devices lose nothing, and memory stays bounded")
  func badInputs() throws {
    let cases = HostileCases.all
    try #require(cases.count >= 100)
    var options = House.Options()
    options.source = "max_packet: 16 MiB"
    options.pipeline = HostilePipelines.yaml
    // The payloads of all that is refused, to compare them.
    options.extra = "dead_letters: { max: 18 MiB }"
    let house = try House("hostile", options)
    try house.startUpstream()
    try house.startDaemon()
    let daemon = try #require(house.daemon)
    let memory = ResidentMemory(of: daemon.pid)
    let expected = 6_000
    let devices = try house.simulate([
      "--devices", "5", "--count", "\(expected)", "--seed", "1", "--total-rate", "600",
    ])
    try send(cases, to: house)
    #expect(devices.wait(seconds: 120) == 0, "\(TemporaryDirectory.read(house.directory.file("devices.log")))")
    let heard = cases.filter { $0.fate != .refusedByBroker && $0.fate != .unheard }
    try settle(house, received: expected + heard.count)
    let (median, highest) = memory.end()
    let figures =
      "\(cases.count) bad inputs beside \(expected) good messages: resident \(Self.megabytes(median)) in the middle of "
      + "all samples, \(Self.megabytes(highest)) at most."
    print(figures)
    try Figures.record("hostile inputs", figures)
    #expect(median < Self.memory)

    let status = try house.status()
    #expect(status.spool.received == expected + heard.count)
    #expect(daemon.poll() == nil && house.daemon === daemon)
    #expect(status.sources[0].state == "connected" && status.sources[0].reconnects == 0)
    #expect(status.alarms.isEmpty, "\(status.alarms)")
    expectGood(try good(house), expected)
    try expectBooks(of: heard, house)
    try expectLetters(of: heard, house)
    try expectPlainText(house)
    try house.expectProof()
  }

  private func send(_ cases: [HostileCase], to house: House) throws {
    func device() throws -> RawDevice { try RawDevice(port: house.broker.port, clientID: "hostile") }
    var bad = try device()
    for hostile in cases {
      let answer =
        try hostile.packet.map { try bad.exchange($0) }
        ?? bad.publish(hostile.topic, hostile.payload, properties: hostile.properties)
      let isRefused = hostile.fate == .refusedByBroker
      #expect((answer == .refused) == isRefused, "\(hostile.name): \(answer)")
      if answer == .refused { bad = try device() }
    }
  }

  private func expectBooks(of heard: [HostileCase], _ house: House) throws {
    let books = try books(house)
    #expect(books.balances)
    var lines = 0
    for (level, pipeline) in Self.pipelines {
      let own = heard.filter { $0.topic.prefix { $0 != UInt8(ascii: "/") }.elementsEqual(level.utf8) }
      var (rejected, delivered) = (0, 0)
      for hostile in own {
        switch hostile.fate {
        case .rejected: rejected += 1
        case .delivered(let count): delivered += count
        case .refusedByBroker, .unheard: break
        }
      }
      lines += delivered
      #expect(books[pipeline, "rejected"] == rejected, "\(pipeline)")
      #expect(books[pipeline, "refused"] == 0, "\(pipeline)")
      #expect(books[pipeline, "delivered"] == delivered, "\(pipeline)")
      #expect(books[pipeline, "decoded"] == own.count - rejected, "\(pipeline)")
      #expect(books[pipeline, "deadLetters"] == rejected, "\(pipeline)")
    }
    let exported = try house.run("receive", ["--store", house.store, "--export"]).output.utf8
    #expect(exported.count { $0 == UInt8(ascii: "\n") } == lines + 6_000)
  }

  /// Every rejection is there under its rule, and with its topic.
  private func expectLetters(of heard: [HostileCase], _ house: House) throws {
    let list = try house.run("dead-letters", ["list", "--json", "--limit", "1000", "--spool", house.spool])
    let letters = try JSONDecoder().decode([Letter].self, from: Data(list.output.utf8))
    let found = Dictionary(grouping: letters) { Array($0.topic.utf8) }
    var count = 0
    for hostile in heard {
      let rules = found[hostile.topic]?.map(\.rule) ?? []
      switch hostile.fate {
      case .rejected(let rule):
        count += 1
        #expect(rules == [rule], "\(hostile.name)")
      default: #expect(rules.isEmpty, "\(hostile.name)")
      }
    }
    #expect(letters.count == count)
  }

  /// What people see holds nothing that acts on a terminal or turns the text around.
  private func expectPlainText(_ house: House) throws {
    let place = ["--spool", house.spool]
    let commands: [[String]] = [
      ["status", "--socket", house.spool + "/forebay.sock"], ["log", "show", "--last", "10000"] + place,
      ["dead-letters", "list", "--limit", "1000"] + place, ["dead-letters", "counts"] + place,
      ["devices", "--pipeline", "remembering", "--limit", "1000"] + place,
      ["devices", "--pipeline", "named", "--limit", "1000"] + place, ["audit"] + place,
    ]
    for command in commands {
      let output = try ChildProcess.run(House.forebay, command).output
      #expect(!output.isEmpty, "\(command)")
      #expect(Self.active(output).isEmpty, "\(command)")
    }
    #expect(Self.active(TemporaryDirectory.read(house.directory.file("daemon.log"))).isEmpty)
    let names = try ChildProcess.run(House.forebay, commands[5]).output
    #expect(names.contains(#"\u{1b}[2J"#) && names.contains(#"\u{202e}exe.txt"#), "\(names)")
  }

  private static func active(_ text: String) -> [Unicode.Scalar] {
    text.unicodeScalars.filter { scalar in
      switch scalar.properties.generalCategory {
      case .control: scalar != "\n"
      case .format, .lineSeparator, .paragraphSeparator: true
      default: false
      }
    }
  }

  // MARK: Topics without end

  @Test("ever new topics leave memory and disk where they were, and every reading arrives")
  func topics() throws {
    let count = ProcessInfo.processInfo.environment["FOREBAY_HOSTILE_TOPICS"].flatMap { Int($0) } ?? 100_000
    var options = House.Options()
    options.pipeline = HostilePipelines.yaml
    options.spool = "keep: 0 s"
    let house = try House("topics", options)
    try house.startUpstream()
    try house.startDaemon()
    let daemon = try #require(house.daemon)
    let before = ResidentMemory.bytes(of: daemon.pid)
    let memory = ResidentMemory(of: daemon.pid)
    let expected = 6_000
    let devices = try house.simulate([
      "--devices", "5", "--count", "\(expected)", "--seed", "1", "--total-rate", "600",
    ])
    let began = Date()
    // A device of its own each, remembered by the router, `sequence`, `drift`, `dedupe` and the view of devices.
    try RawDevice(port: house.broker.port, clientID: "flood").flood(count) { index in
      (
        bytes("h/flood-\(index)/\(index % 7)"),
        bytes("{\"ts\":1700000000000,\"seq\":\(index),\"field\(index % 50)\":1}")
      )
    }
    #expect(devices.wait(seconds: 300) == 0)
    try settle(house, received: expected + count, within: 1_500)
    let seconds = Int(Date().timeIntervalSince(began))
    let (median, highest) = memory.end()
    let disk = try diskUse(house.spool)
    let figures =
      "\(count) topics beside \(expected) good messages in \(seconds) s: resident \(Self.megabytes(before)) before, "
      + "\(Self.megabytes(median)) in the middle of all samples, \(Self.megabytes(highest)) at most; the spool had "
      + "\(Self.megabytes(disk)) at the end."
    print(figures)
    try Figures.record("hostile topics", figures)
    // What ten thousand devices take in each stage, a hundred thousand digests of dedupe, and the batches on their way.
    #expect(median < before + 96 << 20)
    #expect(disk < 64 << 20)
    #expect(daemon.poll() == nil)
    let books = try books(house)
    #expect(books["remembering", "delivered"] == count)
    #expect(try house.status().sources[0].reconnects == 0)
    expectGood(try good(house), expected)
    try house.expectProof()
  }

  /// Bytes of the databases, their logs and all else beside the ballast, which is room that is kept on purpose.
  private func diskUse(_ folder: String) throws -> Int {
    try FileManager.default.subpathsOfDirectory(atPath: folder).filter { !$0.contains("ballast") }.reduce(0) {
      var entry = stat()
      return stat(folder + "/" + $1, &entry) == 0 ? $0 + Int(entry.st_blocks) * 512 : $0
    }
  }

  // MARK: Sizes

  @Test("packets of every size around max_packet leave the session alone, whichever of them the broker sends on")
  func sizes() throws {
    var options = House.Options()
    options.source = "max_packet: 16 KiB"
    let house = try House("sizes", options)
    try house.startUpstream()
    try house.startDaemon()
    let topic = bytes("sensors/large/x")
    let device = try RawDevice(port: house.broker.port, clientID: "large")
    let sizes = (16_384 - 8)...(16_384 + 8)
    for (index, size) in sizes.enumerated() {
      // First byte, length, topic, identifier, no properties.
      let payload = [UInt8](repeating: UInt8(ascii: "a"), count: size - 1 - 3 - 2 - topic.count - 2 - 1)
      #expect(try device.publish(topic, payload) == .accepted)
      let reading = "{\"device\":\"good\",\"seq\":\(index + 1),\"ts\":1700000000000}"
      #expect(try device.publish(bytes("sensors/good/x"), bytes(reading)) == .accepted)
    }
    try house.wait("all that is small has arrived") { try house.delivered().count == sizes.count }
    let status = try house.status()
    #expect(status.sources[0].state == "connected" && status.sources[0].reconnects == 0)
    let large = status.spool.received - sizes.count
    print("of \(sizes.count) packets around max_packet the broker sends on the \(large) smallest")
    #expect(large >= 9, "what is not above the limit is taken")
    #expect(try house.status().pipelines[0].deadLetters == large)
    try house.expectDelivered(count: sizes.count)
    try house.expectProof()
  }

  // MARK: The receiver

  @Test("a batch that unpacks to a gigabyte is refused by the receiver, which never holds it")
  func bombs() throws {
    let house = try House("bomb")
    try house.startUpstream()
    let upstream = try #require(house.upstream)
    let file = house.directory.file("bomb")
    let made = try ChildProcess.run("sh", ["-c", "head -c 1073741824 /dev/zero | gzip -1 > \(file)"])
    try #require(made.status == 0, "\(made.output)")
    let body = try Data(contentsOf: URL(fileURLWithPath: file))
    let before = ResidentMemory.bytes(of: upstream.pid)
    for length in ["100", "33554432", "1073741824", "9223372036854775807"] {
      let zeros = String(repeating: "0", count: 64)
      let head = """
        POST /v1/batches HTTP/1.1\r
        Host: 127.0.0.1:\(house.upstreamPort)\r
        Connection: close\r
        Content-Type: application/x-ndjson\r
        Content-Encoding: gzip\r
        Content-Length: \(body.count)\r
        Idempotency-Key: "gw/machines/0123456789abcdef/1"\r
        Forebay-Digest: \(zeros)\r
        Forebay-Previous: \(zeros)\r
        Forebay-Count: 1\r
        Forebay-Length: \(length)\r
        \r

        """
      let answer = try PlainHTTP.parse(try PlainHTTP(port: house.upstreamPort).raw(Array(head.utf8) + body))
      #expect([400, 413].contains(answer.status), "\(length): \(answer.status) \(answer.text)")
    }
    let highest =
      TemporaryDirectory.read("/proc/\(upstream.pid)/status").split(separator: "\n")
      .first { $0.hasPrefix("VmHWM:") }.flatMap { Int($0.split(whereSeparator: { $0 == " " || $0 == "\t" })[1]) } ?? 0
    print("\(body.count) bytes of gzip for 1 GiB: the receiver had \(Self.megabytes(highest << 10)) at most")
    #expect(highest > 0 && highest << 10 < before + 192 << 20)
    #expect(upstream.poll() == nil)
  }
}
