import Foundation
import Testing

@testable import Status

@Suite("The summary of a gateway")
struct GatewayStatusTests {
  static let longest = String(repeating: "n", count: 64)

  /// - Parameter text: of each alarm.
  static func status(pipelines: Int, alarms: Int, text: String = "all is well", name: String) -> GatewayStatus {
    GatewayStatus(
      gateway: name, site: name, software: "0.1.0", time: "2026-11-21T16:00:00.123456789Z", uptimeSeconds: 12.345,
      clockSynchronised: true,
      alarms: .init(
        (0..<alarms).map {
          .init(
            kind: "dropped-by-broker", subject: name, severity: $0 == 0 ? .page : .ticket, text: text,
            since: "2026-11-21T16:00:00Z", runbook: "/usr/share/doc/forebay/operations.md#dropped-by-broker")
        }),
      objectives: (0..<8).map {
        .init(
          name: "objective-\($0)", state: "burning", target: 0.999, measured: 0.991, budgetRemaining: -0.25,
          burnRate1h: 14.5, burnRate6h: 6.125)
      },
      freshnessSeconds: 1.5, messages: .init(received: .max, perSecond: 12_345.678),
      readings: .init(delivered: .max, duplicate: .max, refused: .max, late: .max),
      backlog: .init(messages: .max, seconds: nil), outbox: .init(batches: 1, readings: 2, bytes: nil, oldestSeconds: 3),
      deadLetters: .init(count: .max, bytes: .max, expired: .max),
      disk: .init(
        usedBytes: .max, maximumBytes: .max, freeBytes: .max, minimumFreeBytes: .max, parked: false,
        writtenBytes: nil),
      cost: .init(payloadBytes: .max, writtenBytes: .max, sentBytes: .max),
      process: .init(residentBytes: .max, cpuSeconds: 1.25),
      sources: .init((0..<16).map { _ in .init(name: name, state: "connected", messages: .max) }),
      pipelines: .init(
        (0..<pipelines).map { _ in
          .init(
            name: name, backlog: .max, outboxReadings: .max, oldestSeconds: 123_456.789, delivered: .max,
            deadLetters: .max, freshnessSeconds: 123_456.789)
        }),
      uplinks: .init((0..<32).map { _ in .init(name: name, state: "delivering", failingSeconds: nil, delivered: .max) }))
  }

  @Test("what is written is what a puller reads")
  func roundTrip() throws {
    var status = Self.status(pipelines: 3, alarms: 2, text: "a \"quoted\" text\nwith \u{1} and ü", name: "gw-1")
    status.sources.list.removeLast(10)
    status.uplinks.list.removeLast(26)
    let read = try JSONDecoder().decode(GatewayStatus.self, from: Data(status.json))
    #expect(read == status)
    #expect(read.state == .critical)
    #expect(read.sources.total == 16)
  }

  @Test(
    "it stays below 8 kB, whatever the names are, and says how many there are of what it leaves out",
    arguments: [longest, String(repeating: "\u{1}", count: 64)])
  func bounded(name: String) throws {
    let text = String(repeating: "\u{1}", count: 4000)
    let status = Self.status(pipelines: 100, alarms: 50, text: text, name: name)
    let json = status.json
    #expect(json.count < GatewayStatus.maximumBytes)
    let read = try JSONDecoder().decode(GatewayStatus.self, from: Data(json))
    #expect(read.pipelines.total == 100)
    #expect(read.alarms.page + read.alarms.ticket == 50)
    #expect(read.state == .critical)
    #expect(read.uplinks.total == 32)
  }

  @Test("with a hundred pipelines of the longest names and no more than an alarm each list has its worst")
  func usual() throws {
    let json = Self.status(pipelines: 100, alarms: 1, name: Self.longest).json
    let read = try JSONDecoder().decode(GatewayStatus.self, from: Data(json))
    #expect(json.count < GatewayStatus.maximumBytes)
    #expect(read.pipelines.list.count >= 4)
    #expect(read.alarms.list.count == 1)
    #expect(read.objectives.count == 8)
  }

  @Test(
    "its state is that of the worst alarm",
    arguments: [([], .ok), ([.ticket, .ticket], .warning), ([.ticket, .page], .critical)]
      as [([AlarmSeverity], GatewayStatus.State)])
  func state(severities: [AlarmSeverity], state: GatewayStatus.State) {
    let alarms = GatewayStatus.Alarms(
      severities.map { .init(kind: "parked", subject: "", severity: $0, text: "", since: nil, runbook: nil) })
    let whole = Self.status(pipelines: 1, alarms: 0, name: "gw")
    let status = GatewayStatus(
      gateway: "gw", site: nil, software: "", time: "", uptimeSeconds: 0, clockSynchronised: true, alarms: alarms,
      objectives: [], freshnessSeconds: nil, messages: whole.messages, readings: whole.readings,
      backlog: whole.backlog, outbox: whole.outbox, deadLetters: whole.deadLetters, disk: whole.disk,
      cost: whole.cost, process: whole.process, sources: whole.sources, pipelines: whole.pipelines,
      uplinks: whole.uplinks)
    #expect(status.state == state)
  }

  @Test("a text is cut between characters")
  func shortened() {
    #expect("short".shortened(to: 5) == "short")
    #expect("ääääää".shortened(to: 9) == "äää…")
  }
}

@Suite("Writing JSON")
struct JSONWriterTests {
  @Test(
    "numbers are read as what they are",
    arguments: [0, 1, -1, 9, 10, -10, 123_456, .max, .min] as [Int64])
  func integers(number: Int64) {
    var writer = JSONWriter()
    writer.value(nil, number)
    #expect(String(decoding: writer.bytes, as: UTF8.self) == "\(number)")
  }

  @Test(
    "fractions are written to the thousandth",
    arguments: [
      (0, "0"), (1.5, "1.5"), (-1.25, "-1.25"), (0.0004, "0"), (-0.0004, "0"), (0.0005, "0.001"), (12.3456, "12.346"),
      (1.007, "1.007"), (9e14, "900000000000000"), (.infinity, "null"), (.nan, "null"), (1e300, "null"),
    ] as [(Double, String)])
  func fractions(number: Double, text: String) {
    var writer = JSONWriter()
    writer.value(nil, number)
    #expect(String(decoding: writer.bytes, as: UTF8.self) == text)
  }

  @Test("nested objects and arrays, and every character, are read by others")
  func nesting() throws {
    let text = String(String.UnicodeScalarView((1..<0x180).compactMap(Unicode.Scalar.init)))
    var writer = JSONWriter()
    writer.object { object in
      object.value("text", text)
      object.array("list") { list in
        list.object { _ in }
        list.array { $0.value(nil, true) }
        list.null()
      }
      object.raw("raw", "[1]".utf8)
      object.optional("absent", nil as String?)
    }
    let value = try #require(try JSONSerialization.jsonObject(with: Data(writer.bytes)) as? [String: Any])
    #expect(value["text"] as? String == text)
    #expect((value["list"] as? [Any])?.count == 3)
    #expect((value["raw"] as? [Int]) == [1])
    #expect(value.keys.sorted() == ["list", "raw", "text"])
  }
}
