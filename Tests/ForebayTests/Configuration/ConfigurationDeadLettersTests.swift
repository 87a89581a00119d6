import Pipeline
import Telemetry
import Testing

@testable import forebay

@Suite("Configuration: dead letters")
struct ConfigurationDeadLettersTests {
  private static let day: Int64 = 24 * 3_600_000_000_000

  private static func decode(_ top: String, pipeline: String = "", spool: String = "") throws -> Configuration {
    var text = Sample.text
    if !spool.isEmpty { text = text.replacing("  directory: /spool\n", with: "  directory: /spool\n  \(spool)\n") }
    if !pipeline.isEmpty { text = text.replacing("    to: central", with: "    \(pipeline)\n    to: central") }
    return try Sample.decode(text + top)
  }

  @Test("what is left out is the default, which leaves the spool its room")
  func defaults() throws {
    let plain = try Self.decode("")
    #expect(plain.deadLetters == DeadLetterBounds())
    #expect(plain.pipelines.map(\.deadLetters) == [DeadLetterBounds()])
    let small = try Self.decode("", spool: "max: 64 MiB")
    #expect(small.deadLetters.maximumBytes == 8 << 20 && small.deadLetters.keep == 30 * Self.day)
    let more = (1...3).map { "  p\($0): { from: [\"p\($0)/#\"], to: central }\n" }.joined()
    let many = try Sample.decode(
      Sample.text.replacing("pipelines:\n", with: "pipelines:\n" + more)
        .replacing("  directory: /spool\n", with: "  directory: /spool\n  max: 1 GiB\n"))
    #expect(many.pipelines.map(\.deadLetters.maximumBytes) == Array(repeating: 32 << 20, count: 4))
  }

  @Test("a pipeline takes from the file what it does not say itself")
  func ownBounds() throws {
    let configuration = try Self.decode(
      "dead_letters: { keep: 14 d, max: 64 MiB }\n", pipeline: "dead_letters: { keep: 2 h }")
    #expect(configuration.deadLetters.keep == 14 * Self.day && configuration.deadLetters.maximumBytes == 64 << 20)
    let own = try #require(configuration.pipelines.first).deadLetters
    #expect(own.keep == 2 * 3_600_000_000_000 && own.maximumBytes == 64 << 20)
    // They shape no batch.
    let other = try Self.decode("")
    #expect(
      PipelineWorker.Assignment(configuration.pipelines[0]).version
        == PipelineWorker.Assignment(other.pipelines[0]).version)
  }

  @Test(
    "a fault is told with its place and a way out",
    arguments: [
      Case(
        "    to: central", "    to: central\n    dead_letters: { keep: 1 s }",
        "13:27 error pipelines.climate.dead_letters.keep", "1 min to 3650 d"),
      Case(
        "    to: central", "    to: central\n    dead_letters: { keeps: 1 d }",
        "13:21 error pipelines.climate.dead_letters.keeps", "did you mean 'keep'?"),
      Case(
        "    to: central", "    to: central\n    dead_letters: { max: 4 GiB }",
        "13:26 error pipelines.climate.dead_letters.max", "more than a third of the 8 GiB", "too little room"),
      Case(
        "gateway: { id: gw-1 }", "gateway: { id: gw-1 }\ndead_letters: { max: 3 GiB }",
        "2:22 error dead_letters.max", "more than a third of the 8 GiB"),
      Case(
        "gateway: { id: gw-1 }", "gateway: { id: gw-1 }\ndead_letters: 30 d", "2:15 error dead_letters",
        "expected a mapping"),
    ])
  func faults(_ fault: Case) { fault.check() }
}
