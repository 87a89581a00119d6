import Foundation
import Logging
import Synchronization
import Telemetry
import Testing

@testable import Status

@Suite("Log lines")
struct LogLineTests {
  private static func record(_ metadata: Logger.Metadata = [:], _ message: String = "it failed") -> LogRecord {
    LogRecord(wall: 1_795_244_029_079_985_509, level: .warning, message: message, metadata: metadata)
  }

  @Test("are logfmt: time, level, message, then the metadata in the order of their names, quoted where they must be")
  func logfmt() {
    let line = LogLine.text(
      Self.record([
        "pipeline": "climate", "error": #"no "room" left"#, "batch": "gw/climate/0/1", "empty": "", "a=b c": "x=y",
        "list": ["1", "2"], "level": "mine",
      ]), .logfmt, hasPriority: false)
    #expect(
      line
        == #"time=2026-11-21T06:53:49.079Z level=warning message="it failed" a_b_c="x=y" batch=gw/climate/0/1 empty="" "#
        + #"error="no \"room\" left" level_=mine list="[\"1\",\"2\"]" pipeline=climate"#)
  }

  @Test("are one JSON object each, before which journald finds the priority")
  func json() throws {
    let line = LogLine.text(
      Self.record(["offset": "12", "where": ["source": "floor", "n": .stringConvertible(3)], "time": "x"]), .json,
      hasPriority: true)
    #expect(line.hasPrefix("<4>{"))
    let object = try #require(
      try JSONSerialization.jsonObject(with: Data(line.dropFirst(3).utf8)) as? [String: Any])
    #expect(object["message"] as? String == "it failed" && object["offset"] as? String == "12")
    #expect(object["time"] as? String == "2026-11-21T06:53:49.079Z" && object["time_"] as? String == "x")
    #expect(object["where"] as? [String: String] == ["source": "floor", "n": "3"])
    let levels: [Logger.Level] = [.trace, .debug, .info, .notice, .warning, .error, .critical]
    let priorities = levels.map {
      LogLine.text(LogRecord(wall: 0, level: $0, message: "m"), .logfmt, hasPriority: true).prefix(3)
    }
    #expect(priorities == ["<7>", "<7>", "<6>", "<5>", "<4>", "<3>", "<2>"])
  }

  @Test(
    "hold no line feed, no control character and nothing that turns text round, whatever comes",
    arguments: LogFormat.allCases)
  func hostile(_ format: LogFormat) throws {
    let nasty = "a\nlevel=critical\r\t\u{0}\u{1B}[2J\u{7F}\u{85}\u{2028}\u{202E}\u{FEFF}\u{E000}\u{1F600}\"\\"
    let line = LogLine.text(
      Self.record(["k\n\u{1B}": .string(nasty), "d": [nasty: .string(nasty)]], nasty), format, hasPriority: false)
    for scalar in line.unicodeScalars {
      #expect(scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value))
      #expect(![0x2028, 0x202E, 0xFEFF, 0xE000].contains(scalar.value))
    }
    #expect(line.unicodeScalars.contains("\u{1F600}"))
    guard format == .json else { return }
    let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    #expect(object["message"] as? String == nasty && (object["d"] as? [String: String])?[nasty] == nasty)
  }

  @Test("are bounded, whatever is given to them", arguments: LogFormat.allCases)
  func bounded(_ format: LogFormat) {
    var deep: Logger.MetadataValue = "x"
    for _ in 0..<1_000 { deep = ["d": deep] }
    var metadata: Logger.Metadata = ["deep": deep]
    for number in 0..<100 { metadata["k\(number)"] = .string(String(repeating: "é", count: 100_000)) }
    let line = LogLine.text(Self.record(metadata), format, hasPriority: false)
    #expect(line.count < 40 * (LogLine.longestValue + 80))
    #expect(!line.contains("k99"), "32 values at most")
  }

  @Test(
    "have times of every year",
    arguments: [
      (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"),
      (951_782_400_000_000_000, "2000-02-29T00:00:00.000Z"),
      (4_107_542_399_999_999_999, "2100-02-28T23:59:59.999Z"), (4_107_542_400_005_000_000, "2100-03-01T00:00:00.005Z"),
    ])
  func times(_ wall: Int64, _ text: String) { #expect(LogTime.text(wall) == text) }
}

@Suite("Repeated log lines")
struct LogRepeatsTests {
  private static let second: Int64 = 1_000_000_000

  private static func record(
    _ message: String = "m", _ metadata: Logger.Metadata = [:], level: Logger.Level = .error
  ) -> LogRecord { LogRecord(wall: 0, level: level, message: message, metadata: metadata) }

  private static func repeated(_ records: [LogRecord]) -> [String?] {
    records.map { $0.metadata["repeated"].map { "\($0)" } }
  }

  @Test("the first few are written at once, then one a minute that says for how many it stands, and all are counted")
  func minutes() {
    var repeats = LogRepeats()
    var written: [(second: Int64, repeated: String?)] = []
    for second in 0..<Int64(200) {
      for record in repeats.take(Self.record("m", ["n": "\(second)"]), now: second * Self.second) {
        written.append((second, record.metadata["repeated"].map { "\($0)" }))
      }
    }
    #expect(written.map(\.second) == [0, 1, 2, 3, 4, 64, 124, 184])
    #expect(written.map(\.repeated) == [nil, nil, nil, nil, nil, "60", "60", "60"])
    let rest = repeats.finish(now: 200 * Self.second)
    #expect(Self.repeated(rest) == ["15"] && rest[0].metadata["n"] == "199")
    #expect(repeats.finish(now: 300 * Self.second).isEmpty)
  }

  @Test("what is held back comes out though nothing more of it comes, with the next line of any kind or when asked")
  func overdue() {
    var repeats = LogRepeats()
    for number in 0..<8 { _ = repeats.take(Self.record(), now: Int64(number)) }
    #expect(repeats.overdue(now: 59 * Self.second).isEmpty)
    #expect(Self.repeated(repeats.take(Self.record("other"), now: 61 * Self.second)) == ["3", nil])
    for number in 0..<7 { _ = repeats.take(Self.record(), now: 62 * Self.second + Int64(number)) }
    #expect(Self.repeated(repeats.overdue(now: 130 * Self.second)) == ["2"])
  }

  @Test("after a quiet minute it begins anew")
  func quiet() {
    var repeats = LogRepeats()
    for number in 0..<5 { _ = repeats.take(Self.record(), now: Int64(number)) }
    let later = 100 * Self.second
    let written = (0..<7).flatMap { repeats.take(Self.record(), now: later + Int64($0)) }
    #expect(written.count == 5)
  }

  @Test("the same message of another source, pipeline, uplink or level is another trouble; details do not matter")
  func keys() {
    var repeats = LogRepeats()
    func count(_ metadata: Logger.Metadata, level: Logger.Level = .error) -> Int {
      (0..<10).reduce(0) {
        $0 + repeats.take(Self.record("m", metadata.merging(["n": "\($1)"]) { $1 }, level: level), now: Int64($1)).count
      }
    }
    #expect(count(["uplink": "a"]) == 5 && count(["uplink": "b"]) == 5 && count(["source": "a"]) == 5)
    #expect(count(["uplink": "a"], level: .warning) == 5 && count(["uplink": "a"]) == 0)
    #expect(count([:], level: .debug) == 10, "who asks for it wants all of it")
  }

  @Test("it remembers so many troubles and no more, and forgets none without telling what it held back")
  func bounded() {
    var repeats = LogRepeats()
    for number in 0..<6 { _ = repeats.take(Self.record("first"), now: Int64(number)) }
    var told: [LogRecord] = []
    for number in 0..<2 * LogRepeats.limit {
      told += repeats.take(Self.record("\(number)"), now: 100 + Int64(number)).filter { $0.message == "first" }
    }
    #expect(Self.repeated(told) == ["1"])
    #expect(
      Mirror(reflecting: repeats).children.compactMap { ($0.value as? any Collection)?.count }.max() == LogRepeats.limit
    )
  }

  @Test("loggers write whole lines with their own metadata and that of the call, from the level that they have")
  func logger() {
    let lines = Mutex<[String]>([])
    let log = OperatorLog(.logfmt, hasPriority: false, clock: { (0, 0) }) { bytes in
      lines.withLock { $0.append(String(decoding: bytes, as: UTF8.self)) }
    }
    var logger = log.logger("test")
    logger[metadataKey: "source"] = "floor"
    var other = logger
    other[metadataKey: "source"] = "roof"
    logger.debug("not this")
    logger.info("one", metadata: ["secret": "\(Secret("hunter2"))"])
    other.error("two", metadata: ["source": "cellar"])
    for _ in 0..<9 { logger.warning("again") }
    log.finish()
    let head = "time=1970-01-01T00:00:00.000Z level="
    #expect(
      lines.withLock { $0.prefix(2) } == [
        head + "info message=one secret=[redacted] source=floor\n", head + "error message=two source=cellar\n",
      ])
    #expect(lines.withLock { $0.count } == 8)
    #expect(lines.withLock { $0.last } == head + "warning message=again repeated=4 source=floor\n")
  }

  @Test("another level and another format count for loggers that are there already, but not for a level of their own")
  func changed() {
    let lines = Mutex<[String]>([])
    let log = OperatorLog(.logfmt, level: .warning, hasPriority: false, clock: { (0, 0) }) { bytes in
      lines.withLock { $0.append(String(decoding: bytes, as: UTF8.self)) }
    }
    let logger = log.logger("test")
    var quiet = logger
    quiet.logLevel = .error
    for level in Logger.Level.allCases {
      log.level = level
      #expect(log.level == level && logger.logLevel == level && quiet.logLevel == .error)
    }
    log.level = .debug
    logger.debug("one")
    log.format = .json
    logger.debug("two")
    quiet.warning("not this")
    log.level = .critical
    logger.error("nor this")
    #expect(lines.withLock { $0.map { $0.contains("message=one") } } == [true, false])
    #expect(lines.withLock { $0.last?.contains(#""message":"two""#) } == true)
  }
}
