import Pipeline
import Telemetry
import Testing

@Suite("Messages with nested fields and many readings")
struct ManyReadingsTests {
  private static func settings(
    each: FieldPath? = nil, key: String? = "id", time: PipelineSettings.EventTime = .receipt(hold: 0),
    _ change: (inout PipelineSettings) -> Void = { _ in }
  ) throws -> PipelineSettings {
    try makeSettings(["sensors/#"], key: key, time: time) {
      $0.each = each
      change(&$0)
    }
  }

  private static func lines(_ settings: PipelineSettings, _ payloads: String...) throws -> (
    batches: [[String]], seal: Seal
  ) {
    var core = try makeCore(settings)
    core.process(block(payloads.map { message("sensors/p/climate", $0) }), now: moment(5))
    core.close(moment(6))
    let seal = try #require(try core.takeSeal())
    return (try seal.batches.map { try linesOf($0) }, seal)
  }

  @Test("key and event time may lie deep in the payload")
  func nested() throws {
    let settings = try Self.settings(
      key: "deviceInfo.devEui", time: .field("rxInfo[1].time", .rfc3339))
    let payload =
      #"{"deviceInfo":{"devEui":"a1"},"rxInfo":[{},{"time":"2026-11-21T03:18:00Z"}],"object":{"t":1}}"#
    #expect(
      try outcome(settings, payload)
        == .line(#"{"key":"a1","time":"2026-11-21T03:18:00Z","data":\#(payload)}"#))
  }

  @Test("each element is a reading; what it does not say itself, the message says for all")
  func each() throws {
    let settings = try Self.settings(each: "e", time: .field("t", .seconds))
    let (batches, seal) = try Self.lines(
      settings, #"{"id":"p1","t":7,"e":[{"t":1,"v":20},{"id":"p2","t":2,"v":21}, {"v":22}]}"#)
    #expect(
      batches == [
        [
          #"{"key":"p1","time":"1970-01-01T00:00:01Z","data":{"t":1,"v":20}}"#,
          #"{"key":"p2","time":"1970-01-01T00:00:02Z","data":{"id":"p2","t":2,"v":21}}"#,
          #"{"key":"p1","time":"1970-01-01T00:00:07Z","data":{"v":22}}"#,
        ]
      ])
    #expect(seal.decoded == 1 && seal.produced == 3 && seal.rejected == 0)
  }

  @Test("an empty array is a message without a reading")
  func empty() throws {
    let (batches, seal) = try Self.lines(try Self.settings(each: "e"), #"{"e":[]}"#)
    #expect(batches.isEmpty && seal.decoded == 1 && seal.produced == 0)
  }

  static let refused: [(payload: String, rule: String, reason: String)] = [
    (#"{"id":"p"}"#, "each.missing", #"no field "e""#), (#"{"id":"p","e":{}}"#, "each.type", "is an object"),
    (#"{"id":"p","e":[{"v":1},7]}"#, "json.not-object", "reading 2: the element is a number"),
    (#"{"e":[{"id":"a"},{"v":2}]}"#, "key.missing", "reading 2: "),
  ]

  @Test("one element that is refused refuses the message, whole, and says which", arguments: refused)
  func refusing(payload: String, rule: String, reason: String) throws {
    let (batches, seal) = try Self.lines(try Self.settings(each: "e"), payload)
    #expect(batches.isEmpty && seal.produced == 0)
    let rejection = try #require(seal.rejections.first)
    #expect(rejection.rule == rule && rejection.payload == Array(payload.utf8))
    #expect(rejection.reason.contains(reason), "\(rejection.reason)")
  }

  @Test("the readings of one message are parted only where no batch could hold them, and sealed together")
  func together() throws {
    let settings = try Self.settings(each: "e") { $0.batch.maximumCount = 3 }
    let four = #"{"id":"p","e":[{"n":1},{"n":2},{"n":3},{"n":4}]}"#
    let (batches, seal) = try Self.lines(settings, #"{"id":"p","e":[{"n":0}]}"#, four, four)
    #expect(batches.map(\.count) == [1, 3, 1, 3, 1])
    #expect(seal.batches.map(\.lastOffset) == [0, 1, 1, 2, 2].map { Offset($0) })
  }

  @Test("a message that is put back gives all of its readings, each counted")
  func requeued() throws {
    let payload = #"{"id":"p","e":[{"n":1},{"n":2}]}"#
    let letter = DeadLetter(
      id: 3,
      rejection: Rejection(
        stage: .decode, rule: "each.missing", reason: "", origin: Origin(source: "floor", topic: "sensors/p/x"),
        log: startState(0).log, offset: Offset(0), received: moment(1), payload: Array(payload.utf8)))
    var core = try makeCore(try Self.settings(each: "e"))
    core.requeue(letter, now: moment(5))
    core.close(moment(6))
    let seal = try #require(try core.takeSeal())
    #expect(seal.requeued == 2 && seal.decoded == 0 && seal.produced == 0)
    #expect(seal.batches.first?.count == 2 && seal.resolvedDeadLetters == [3])
  }
}
