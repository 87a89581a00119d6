import Pipeline
import Telemetry
import Testing

@Suite("Between decoder and batch")
struct ReadingStagesTests {
  private static func run(
    _ settings: PipelineSettings, _ payloads: [String], topic: String = "sensors/p/climate"
  ) throws -> (lines: [String], seal: Seal) {
    var core = try makeCore(settings)
    core.process(block(payloads.map { message(topic, $0) }), now: moment(5))
    core.close(moment(6))
    let seal = try #require(try core.takeSeal())
    return (try seal.batches.flatMap { try linesOf($0) }, seal)
  }

  private static func data(_ settings: PipelineSettings, _ payload: String) throws -> String? {
    let prefix = #"{"key":"p","time":"2026-11-21T03:18:00Z","data":"#
    let line = try run(settings, [payload]).lines.first
    return line.map { String($0.dropFirst(prefix.count).dropLast()) }
  }

  private static func settings(
    where condition: String? = nil, select: [String] = [], _ change: (inout PipelineSettings) -> Void = { _ in }
  ) throws -> PipelineSettings {
    try makeSettings {
      $0.condition = condition
      $0.select = select
      change(&$0)
    }
  }

  @Test("where lets those through of which it is true; the others are counted, and so is NULL")
  func condition() throws {
    let (lines, seal) = try Self.run(
      try Self.settings(where: "t > 20"), [#"{"t":21}"#, #"{"t":20}"#, #"{"x":1}"#, #"{"t":20.5}"#])
    #expect(lines.map { $0.hasSuffix(#""data":{"t":21}}"#) } == [true, false] && lines.count == 2)
    #expect(seal.decoded == 4 && seal.produced == 4 && seal.filtered == 2)
  }

  @Test("select makes the data; fields that are only named keep their bytes, integers beyond 2^53 included")
  func select() throws {
    let settings = try Self.settings(
      select: [#""object.temperature" * 2 AS doubled"#, "serial", "key || '@' || topic AS place", "time AS t"])
    #expect(
      try Self.data(settings, #"{"serial":123456789012345678901234567890,"object":{"temperature":1.5}}"#)
        == #"{"doubled":3.0,"serial":123456789012345678901234567890,"place":"p@sensors/p/climate","t":1795231080000000000}"#
    )
  }

  @Test("captures are seen by their names, NULL where the filter that matched has none of it")
  func captures() throws {
    let filters = [try TopicFilter(parsing: "sensors/{device}/{kind}"), try TopicFilter(parsing: "{site}/{device}")]
    let settings = try Self.settings(select: ["kind AS kind", "coalesce(site, 'none') AS site"]) {
      $0.from = filters
    }
    let first = try Self.run(settings, ["{}"]).lines
    #expect(first.first?.hasSuffix(#""data":{"kind":"climate","site":"none"}}"#) == true, "\(first)")
    let second = try Self.run(settings, ["{}"], topic: "north/p").lines
    #expect(second.first?.hasSuffix(#""data":{"kind":null,"site":"north"}}"#) == true, "\(second)")
  }

  @Test("a reading without a value for an expression becomes a dead letter of its own; its siblings go on")
  func evaluation() throws {
    let settings = try Self.settings(select: ["abs(v) AS v"]) { $0.each = "e" }
    let (lines, seal) = try Self.run(
      settings, [#"{"e":[{"v":-1},{"v":-9223372036854775808},{"v":2}]}"#])
    #expect(lines.count == 2 && seal.produced == 3 && seal.refused == 1 && seal.decoded == 1 && seal.rejected == 0)
    let rejection = try #require(seal.rejections.first)
    #expect(rejection.stage == .transform && rejection.rule == "expression.function")
    // The reading as it was decoded, not what became of it: to be run again.
    #expect(
      String(decoding: rejection.payload, as: UTF8.self)
        == #"{"key":"p","time":"2026-11-21T03:18:00Z","data":{"v":-9223372036854775808}}"# + "\n")
  }

  @Test("a dead letter of an expression goes through today's expressions when it is put back")
  func requeued() throws {
    let refused = try Self.run(
      try Self.settings(select: ["abs(v) AS v"]), [#"{"v":-9223372036854775808,"id":"x"}"#])
    let letter = DeadLetter(id: 7, rejection: try #require(refused.seal.rejections.first))
    var core = try makeCore(try Self.settings(where: "v < 0", select: ["id", "v / 2 AS half"]))
    core.requeue(letter, now: moment(5))
    core.close(moment(6))
    let seal = try #require(try core.takeSeal())
    #expect(
      try seal.batches.flatMap { try linesOf($0) }
        == [#"{"key":"p","time":"2026-11-21T03:18:00Z","data":{"id":"x","half":-4611686018427387904}}"#])
    #expect(seal.requeued == 1 && seal.produced == 0 && seal.resolvedDeadLetters == [7])

    var again = try makeCore(try Self.settings(select: ["abs(v) AS v"]))
    again.requeue(letter, now: moment(5))
    let second = try #require(try again.takeSeal())
    // The old letter is resolved, and a new one takes its place.
    #expect(second.requeued == 1 && second.refused == 1 && second.rejections.count == 1)
    #expect(second.resolvedDeadLetters == [7] && second.batches.isEmpty)
    var filtered = try makeCore(try Self.settings(where: "v > 0"))
    filtered.requeue(letter, now: moment(5))
    #expect(try filtered.takeSeal()?.filtered == 1)
  }

  @Test("where and select are part of the version, and are refused with their place when they do not compile")
  func settings() throws {
    let plain = pipelineVersion(try Self.settings())
    #expect(pipelineVersion(try Self.settings(where: "a")) != plain)
    #expect(pipelineVersion(try Self.settings(select: ["a"])) != pipelineVersion(try Self.settings(where: "a")))
    #expect {
      try Self.settings(select: ["a", "b +"]).validate()
    } throws: { error in
      (error as? PipelineSettingsError)?.setting == "select[1]"
    }
  }

  static let formats: [(format: PayloadFormat, payload: [UInt8], data: [String])] = [
    (.cbor, [0xA1, 0x61, 0x74, 0x15], [#"{"t":21}"#]),
    (
      .lineProtocol(.init()), Array("cpu,host=a load=0.5 1".utf8),
      [
        #"{"measurement":"cpu","tags":{"host":"a"},"fields":{"load":0.5},"time":1}"#
      ]
    ),
    (.csv(.init()), Array("a,b\n1,x\n2,\n".utf8), [#"{"a":1,"b":"x"}"#, #"{"a":2,"b":null}"#]),
    (.scalar(.init()), Array("21.5".utf8), [#"{"value":21.5}"#]),
    (.raw, [0xFF, 0x00], [#"{"base64":"/wA="}"#]),
    (.senml, Array(#"[{"n":"x","t":1700000000,"v":1}]"#.utf8), [#"{"n":"x","t":1700000000,"v":1}"#]),
    (.json(.latin1), Array(#"{"name":""#.utf8) + [0xE9] + Array(#""}"#.utf8), [#"{"name":"é"}"#]),
  ]

  @Test("payloads of every format become readings", arguments: formats)
  func format(format: PayloadFormat, payload: [UInt8], data: [String]) throws {
    var core = try makeCore(try makeSettings { $0.format = format })
    core.process(block([message("sensors/p/climate", payload)]), now: moment(5))
    core.close(moment(6))
    let seal = try #require(try core.takeSeal())
    #expect(
      try seal.batches.flatMap { try linesOf($0) }
        == data.map { #"{"key":"p","time":"2026-11-21T03:18:00Z","data":\#($0)}"# }, "\(seal.rejections)")
    // What is of another format becomes a dead letter with its own bytes.
    guard format != .raw, format.name != .scalar, format.name != .csv else { return }
    var other = try makeCore(try makeSettings { $0.format = format })
    other.process(block([message("sensors/p/climate", [0xFF, 0xFE, 0x22])]), now: moment(5))
    let rejection = try #require(try other.takeSeal()?.rejections.first)
    #expect(rejection.stage == .decode && rejection.payload == [0xFF, 0xFE, 0x22])
  }

  @Test("each takes readings out of every object of a format that holds many")
  func eachOfMany() throws {
    var core = try makeCore(
      try makeSettings(["sensors/#"], key: "id") {
        $0.format = .cbor
        $0.each = "r"
      })
    // [{"id":"a","r":[{"v":1},{"v":2}]},{"id":"b","r":[{"v":3}]}]
    let payload: [UInt8] =
      [0x82, 0xA2, 0x62, 0x69, 0x64, 0x61, 0x61, 0x61, 0x72, 0x82, 0xA1, 0x61, 0x76, 0x01, 0xA1, 0x61, 0x76, 0x02]
      + [0xA2, 0x62, 0x69, 0x64, 0x61, 0x62, 0x61, 0x72, 0x81, 0xA1, 0x61, 0x76, 0x03]
    core.process(block([message("sensors/p/climate", payload)]), now: moment(5))
    core.close(moment(6))
    let seal = try #require(try core.takeSeal())
    let keys = try seal.batches.flatMap { try linesOf($0) }.map { String($0.dropFirst(8).prefix(1)) }
    #expect(keys == ["a", "a", "b"], "\(seal.rejections)")
  }
}
