import Pipeline
import Telemetry
import Testing

@Suite("From message to line")
struct ReadingTests {
  @Test("The key comes from the filter's capture and the time from the receipt")
  func captureAndReceipt() throws {
    #expect(
      try outcome(makeSettings(), #"{"t":21.5}"#)
        == .line(#"{"key":"pump-1","time":"2026-11-21T03:18:00Z","data":{"t":21.5}}"#))
  }

  @Test("Captures other than the key stand between time and data, in the filter's order")
  func captures() throws {
    let settings = try makeSettings(["{site}/{device}/{kind}/+"])
    #expect(
      try outcome(settings, topic: "north/pump-1/climate/raw", "{}")
        == .line(
          #"{"key":"pump-1","time":"2026-11-21T03:18:00Z","captures":{"site":"north","kind":"climate"},"data":{}}"#
        ))
  }

  @Test("Without a key the line has none, and every capture is in the captures")
  func noKey() throws {
    #expect(
      try outcome(makeSettings(key: nil), "{}")
        == .line(#"{"time":"2026-11-21T03:18:00Z","captures":{"device":"pump-1"},"data":{}}"#))
    #expect(
      try outcome(makeSettings(["sensors/#"], key: nil), "{}")
        == .line(#"{"time":"2026-11-21T03:18:00Z","data":{}}"#))
  }

  static let keys: [(payload: String, key: String)] = [
    (#"{"id":"a"}"#, "a"), (#"{"id":""}"#, ""), (#"{"id":17}"#, "17"), (#"{"id":-1.50e3}"#, "-1.50e3"),
    (#"{"id":"a","x":1,"id":"b"}"#, "b"), (#"{"\u0069d":"c"}"#, "c"), (#"{"id":"q\"\u00e9"}"#, #"q\"\u00e9"#),
    (#"{"id":12345678901234567890123}"#, "12345678901234567890123"),
  ]

  @Test("A key that no capture gives comes from the payload, as text", arguments: keys)
  func keyFromField(payload: String, key: String) throws {
    let settings = try makeSettings(["sensors/+/climate"], key: "id")
    #expect(
      try outcome(settings, payload)
        == .line(#"{"key":"\#(key)","time":"2026-11-21T03:18:00Z","data":\#(payload)}"#))
  }

  @Test("The first filter that matches decides where the key comes from")
  func firstFilterWins() throws {
    let settings = try makeSettings(["plant/{id}", "plant/#", "other/{id}"], key: "id")
    #expect(try outcome(settings, topic: "plant/x", #"{"id":"y"}"#).line?.contains(#""key":"x""#) == true)
    #expect(try outcome(settings, topic: "plant/x/z", #"{"id":"y"}"#).line?.contains(#""key":"y""#) == true)
    #expect(try outcome(settings, topic: "elsewhere", #"{"id":"y"}"#) == .unmatched)
    let reversed = try makeSettings(["plant/#", "plant/{id}"], key: "id")
    #expect(try outcome(reversed, topic: "plant/x", #"{"id":"y"}"#).line?.contains(#""key":"y""#) == true)
  }

  @Test("What a topic holds is escaped as JSON")
  func escapedTopic() throws {
    let settings = try makeSettings(["{device}/{kind}"])
    #expect(
      try outcome(settings, topic: "a\"b\\\u{1}/\u{9}é", "{}")
        == .line(
          #"{"key":"a\"b\\\u0001","time":"2026-11-21T03:18:00Z","captures":{"kind":"\té"},"data":{}}"#))
  }

  @Test("Whitespace goes, everything else stays as the device wrote it")
  func compaction() throws {
    let payload = " { \"big\" : 123456789012345678901234567890 ,\r\n\t\"dec\" : 1.10 , \"s\" : \" a \\u00e9 \" } \n"
    #expect(
      try outcome(makeSettings(), payload).line
        == #"{"key":"pump-1","time":"2026-11-21T03:18:00Z","data":{"big":123456789012345678901234567890,"dec":1.10,"s":" a \u00e9 "}}"#
    )
  }

  static let times: [(unit: PipelineSettings.TimeUnit, value: String, time: String)] = [
    (.seconds, "1795231080", "2026-11-21T03:18:00Z"), (.seconds, "1795231080.25", "2026-11-21T03:18:00.25Z"),
    (.milliseconds, "1795231080123", "2026-11-21T03:18:00.123Z"),
    (.microseconds, "1795231080123456", "2026-11-21T03:18:00.123456Z"),
    (.nanoseconds, "1795231080123456789", "2026-11-21T03:18:00.123456789Z"),
    (.rfc3339, #""2026-11-21T05:18:00.5+02:00""#, "2026-11-21T03:18:00.5Z"),
    (.rfc3339, #""2026\u002d11-21T03:18:00Z""#, "2026-11-21T03:18:00Z"),
  ]

  @Test("The event time comes from its field in its unit", arguments: times)
  func time(unit: PipelineSettings.TimeUnit, value: String, time: String) throws {
    let settings = try makeSettings(time: .field("ts", unit))
    #expect(
      try outcome(settings, #"{"ts":\#(value)}"#)
        == .line(#"{"key":"pump-1","time":"\#(time)","data":{"ts":\#(value)}}"#))
  }

  @Test("One field may be key and time")
  func keyIsTime() throws {
    let settings = try makeSettings(["#"], key: "ts", time: .field("ts", .seconds))
    #expect(
      try outcome(settings, #"{"ts":0}"#)
        == .line(#"{"key":"0","time":"1970-01-01T00:00:00Z","data":{"ts":0}}"#))
  }

  static let refused: [(payload: [UInt8], rule: String)] = [
    (Array("".utf8), "json.empty"), (Array(" \n".utf8), "json.empty"), (Array("[1]".utf8), "json.not-object"),
    (Array("null".utf8), "json.not-object"), (Array("\"{}\"".utf8), "json.not-object"),
    (Array("21.5".utf8), "json.not-object"), (Array("{".utf8), "json.syntax"), (Array("{}x".utf8), "json.syntax"),
    (Array("ON".utf8), "json.syntax"), ([0xEF, 0xBB, 0xBF, 0x7B, 0x7D], "json.syntax"),
    ([0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D], "json.utf8"), (Array(#"{"a":"\ud800"}"#.utf8), "json.utf8"),
    (Array(#"{"id":true,"ts":1}"#.utf8), "key.type"), (Array(#"{"id":null,"ts":1}"#.utf8), "key.type"),
    (Array(#"{"id":{},"ts":1}"#.utf8), "key.type"), (Array(#"{"ts":1}"#.utf8), "key.missing"),
    (Array(#"{"id":1,"ts":"1"}"#.utf8), "time.type"), (Array(#"{"id":1,"ts":null}"#.utf8), "time.type"),
    (Array(#"{"id":1}"#.utf8), "time.missing"), (Array(#"{"id":1,"ts":-1}"#.utf8), "time.range"),
    (Array(#"{"id":1,"ts":1e99}"#.utf8), "time.range"),
    (Array((String(repeating: #"{"a":"#, count: 129)).utf8), "json.depth"),
  ]

  @Test("Each kind of bad payload is refused under its own rule", arguments: refused)
  func refusing(payload: [UInt8], rule: String) throws {
    let settings = try makeSettings(["sensors/#"], key: "id", time: .field("ts", .seconds))
    #expect(try outcome(settings, payload).rule == rule)
  }

  static let badTimes: [(value: String, rule: String)] = [
    ("1795231080", "time.type"), (#""yesterday""#, "time.syntax"), (#""1969-01-01T00:00:00Z""#, "time.range"),
    (#""2026-11-21T03:18:00""#, "time.syntax"),
  ]

  @Test("Bad RFC 3339 times are refused under their rules", arguments: badTimes)
  func refusingTime(value: String, rule: String) throws {
    let settings = try makeSettings(time: .field("ts", .rfc3339))
    #expect(try outcome(settings, #"{"ts":\#(value)}"#).rule == rule)
  }

  @Test("A rejection tells people what and where, and keeps the bytes, the origin and the offset")
  func rejection() throws {
    var core = try makeCore(try makeSettings(), startState(7))
    core.process(block([message("sensors/p/climate", #"{"secret":x}"#)], first: 7), now: moment(5))
    let rejection = try #require(try core.takeSeal()?.rejections.first)
    #expect(rejection.stage == .decode)
    #expect(rejection.rule == "json.syntax")
    #expect(rejection.reason == "a value was expected (byte 11)")
    #expect(rejection.origin == Origin(source: "floor", topic: "sensors/p/climate"))
    #expect(rejection.log == logA)
    #expect(rejection.offset == Offset(7))
    #expect(rejection.received == moment())
    #expect(rejection.payload == Array(#"{"secret":x}"#.utf8))
  }

  @Test("A payload of 10 MB is a batch of its own, and what follows is not held up")
  func huge() throws {
    let huge = #"{"blob":""# + String(repeating: "x", count: 10_000_000) + #""}"#
    var core = try makeCore(try makeSettings { $0.batch.compression = .zstd })
    let messages = [#"{"a":1}"#, huge, #"{"a":2}"#].map { message("sensors/p/climate", $0) }
    core.process(block(messages), now: moment())
    core.close(moment())
    let batches = try #require(try core.takeSeal()).batches
    #expect(batches.map(\.count) == [1, 1, 1])
    #expect(batches[1].length > 10_000_000)
    #expect(try linesOf(batches[2])[0].hasSuffix(#""data":{"a":2}}"#))
    #expect(core.openBytes == 0)
  }

  @Test("Thousands of different topics each keep their own key")
  func manyTopics() throws {
    var core = try makeCore(try makeSettings { $0.batch.maximumCount = 100_000 })
    let messages = (0..<10_000).map { message("sensors/d\($0 % 5_000)/climate", #"{"n":\#($0)}"#) }
    core.process(block(messages), now: moment())
    core.close(moment())
    let batches = try #require(try core.takeSeal()).batches
    let all = try batches.flatMap { try linesOf($0) }
    let expected = (0..<10_000).map {
      #"{"key":"d\#($0 % 5_000)","time":"2026-11-21T03:18:00Z","data":{"n":\#($0)}}"#
    }
    #expect(all == expected)
  }

  @Test("Two spellings of one accented letter are two topics")
  func normalisation() throws {
    var core = try makeCore(try makeSettings())
    let topics = ["sensors/caf\u{E9}/climate", "sensors/cafe\u{301}/climate"]
    core.process(block(topics.map { message($0, "{}") }), now: moment())
    core.close(moment())
    let batch = try #require(try core.takeSeal()?.batches.first)
    let keys = batch.body.split(separator: UInt8(ascii: "\n")).map { $0.dropFirst(8).prefix(6) }
    #expect(keys[0].elementsEqual("caf\u{E9}\"".utf8))
    #expect(keys[1].elementsEqual("cafe\u{301}".utf8))
  }
}
