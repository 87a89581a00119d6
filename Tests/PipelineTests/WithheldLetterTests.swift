import Telemetry
import Testing

@testable import Pipeline

@Suite("Dead letters whose bytes are in the log")
struct WithheldLetterTests {
  private static func letter(
    _ id: Int64 = 1, stage: Stage, rule: String = "json.syntax", reading: Int? = nil
  ) -> DeadLetter {
    DeadLetter(
      id: id,
      rejection: Rejection(
        stage: stage, rule: rule, reason: "it was bad", origin: Origin(source: "floor", topic: "sensors/p/climate"),
        log: logA, offset: Offset(1), received: moment(), payload: [], reading: reading, isWithheld: true))
  }

  private static func seal(
    _ letter: DeadLetter, _ message: Result<[UInt8], Refusal>?, _ change: (inout PipelineSettings) -> Void = { _ in }
  ) throws -> (lines: [String], seal: Seal) {
    var core = try makeCore(try makeSettings(change: change))
    core.requeue(letter, message: message, now: moment())
    core.close(moment())
    let seal = try #require(try core.takeSeal())
    return (try seal.batches.flatMap { try linesOf($0) }, seal)
  }

  private static let three = Array(#"{"e":[{"v":1},{"v":2},{"v":3}]}"#.utf8)

  @Test("A message that was refused as a whole is decoded from the log's bytes")
  func whole() throws {
    let (lines, seal) = try Self.seal(Self.letter(stage: .decode), .success(Self.three)) { $0.each = "e" }
    #expect(lines.count == 3 && seal.requeued == 3 && seal.resolvedDeadLetters == [1])
    let refused = try Self.seal(Self.letter(stage: .decode), .success(Array("[".utf8)))
    #expect(refused.seal.refusedAgain.map(\.rejection.rule) == ["json.syntax"])
  }

  @Test("Of a message that holds many readings only the one that was refused goes on, behind its stage")
  func one() throws {
    let (lines, seal) = try Self.seal(Self.letter(stage: .transform, reading: 1), .success(Self.three)) {
      $0.each = "e"
      $0.dedupe = .init(within: 60_000_000_000)
      $0.condition = "v > 0"
      $0.select = ["v * 10 AS v"]
    }
    #expect(lines == [#"{"key":"p","time":"2026-11-21T03:18:00Z","data":{"v":20}}"#])
    #expect(seal.requeued == 1 && seal.duplicate == 0 && seal.resolvedDeadLetters == [1] && seal.rejections.isEmpty)
  }

  @Test("A reading that was met before is no duplicate of itself when it is put back behind dedupe")
  func behindDedupe() throws {
    var core = try makeCore(
      try makeSettings {
        $0.dedupe = .init(within: 60_000_000_000)
        $0.select = ["abs(v) AS v"]
      })
    let payload = #"{"v":-9223372036854775808}"#
    core.process(block([message("sensors/p/climate", payload)]), now: moment())
    var letter = DeadLetter(id: 4, rejection: try #require(try core.takeSeal()?.rejections.first))
    letter.rejection.isWithheld = true
    letter.rejection.payload = []
    letter.rejection.reading = 0
    core.requeue(letter, message: .success(Array(payload.utf8)), now: moment())
    let seal = try #require(try core.takeSeal())
    // Refused behind dedupe once more, and not taken for a repeat.
    #expect(seal.duplicate == 0 && seal.refused == 1 && seal.resolvedDeadLetters == [4])
  }

  @Test("A reading that is refused once more keeps its number in the message")
  func number() throws {
    let payload = Array(#"{"e":[{"v":1},{"v":2},{"v":-9223372036854775808}]}"#.utf8)
    let (_, seal) = try Self.seal(Self.letter(stage: .transform, reading: 2), .success(payload)) {
      $0.each = "e"
      $0.select = ["abs(v) AS v"]
    }
    #expect(seal.requeued == 1 && seal.refused == 1 && seal.resolvedDeadLetters == [1])
    #expect(seal.rejections.map(\.reading) == [2] && seal.rejections.map(\.offset) == [Offset(1)])
  }

  @Test("A message that the log no longer has leaves the letter where it is, with the reason")
  func gone() throws {
    for letter in [Self.letter(stage: .decode), Self.letter(stage: .transform, reading: 0)] {
      let (lines, seal) = try Self.seal(letter, .failure(Refusal(.logGone, "no block holds these offsets any more")))
      #expect(lines.isEmpty && seal.requeued == 0 && seal.resolvedDeadLetters.isEmpty)
      #expect(seal.refusedAgain.map(\.rejection.rule) == ["log.gone"])
      #expect(seal.refusedAgain.first?.rejection.reason == "no block holds these offsets any more")
      #expect(seal.refusedAgain.first?.rejection.isWithheld == true)
    }
    #expect(try Self.seal(Self.letter(stage: .decode), nil).seal.refusedAgain.map(\.rejection.rule) == ["log.gone"])
  }

  @Test("A reading that today's decoder does not find, or that nobody can tell, is refused")
  func missing() throws {
    for reading in [3, -1, .max] {
      let (lines, seal) = try Self.seal(Self.letter(stage: .transform, reading: reading), .success(Self.three)) {
        $0.each = "e"
      }
      #expect(lines.isEmpty && seal.requeued == 0)
      #expect(seal.refusedAgain.map(\.rejection.rule) == ["reading.missing"])
      #expect(seal.refusedAgain.first?.rejection.reason.contains("finds 3") == true)
    }
    let nameless = try Self.seal(Self.letter(stage: .transform), .success(Self.three)) { $0.each = "e" }
    #expect(nameless.lines.isEmpty && nameless.seal.refusedAgain.map(\.rejection.rule) == ["reading.missing"])
  }

  @Test("A letter that has its bytes is run from them, whatever the log has")
  func ownBytes() throws {
    var letter = Self.letter(stage: .decode)
    letter.rejection.isWithheld = false
    letter.rejection.payload = Array(#"{"v":1}"#.utf8)
    let (lines, _) = try Self.seal(letter, .success(Array(#"{"v":2}"#.utf8)))
    #expect(lines.count == 1 && lines[0].contains(#""v":1"#))
  }
}
